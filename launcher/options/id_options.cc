#include "launcher/options/id_options.h"

#include "launcher/options/option_list.h"

namespace varve::launcher {

void declare_id_options(OptionList& list, IdOptions& options) {
  list.add_option(
      "--userns", options.user_namespace,
      "Ids inside: host (as on the host), auto (root: ids of their own), keep-id[:uid=N,gid=N] (users: the "
      "own id stays itself), single (users: no id but the own one), container:NAME (those of a running "
      "container)",
      {.type = "host|auto|keep-id|single|container:NAME"});
}

}  // namespace varve::launcher
