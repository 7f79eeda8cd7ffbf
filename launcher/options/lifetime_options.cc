#include "launcher/options/lifetime_options.h"

#include "launcher/options/option_list.h"

namespace varve::launcher {

void declare_lifetime_options(OptionList& list, LifetimeOptions& options) {
  list.add_flag("-d,--detach", options.detached,
                "Run in the background; print the container's name. Output is kept: varve logs");
  list.add_option("--timeout", options.timeout_seconds, "Kill the container after so many seconds",
                  {.type = "SECONDS"});
  list.add_option("--stop-signal", options.stop_signal,
                  "Signal that varve stop sends (default: the image's, else SIGTERM)", {.type = "SIGNAL"});
  list.add_option("--stop-timeout", options.stop_seconds,
                  "Seconds that varve stop waits before it kills (default: 10)", {.type = "SECONDS"});
  list.add_repeated("--log-opt", options.log_options,
                    "max-size=10m or max-file=3: of the kept output of a detached one",
                    {.type = "max-size=BYTES|max-file=NUMBER"});
}

}  // namespace varve::launcher
