#include "launcher/commands/running.h"

#include <optional>

#include "imagetool/image/store/store.h"
#include "launcher/explain.h"
#include "launcher/kernel/process_identity.h"

namespace varve::launcher {

image::ContainerStore containers_of(const std::string& store) {
  return image::ContainerStore(store.empty() ? image::default_store_path() : store);
}

ResultOrFailure<RunningContainer> find_running(const image::ContainerStore& store, const std::string& name,
                                               const char* doing) {
  VARVE_ASSIGN(image::ContainerState state, store.read(name));
  VARVE_ASSIGN(const std::optional<UniqueFd> lock, store.lock_stopped(name));
  const bool is_begun = state.status == image::ContainerStatus::kRunning;
  if (!lock && !is_begun)
    return Failure{ESRCH, refuse(doing, name, "it is just being started or ending", "try again").message};
  Result<UniqueFd> process =
      lock ? Result<UniqueFd>(Errno{ESRCH}) : open_identified({state.pid, state.pid_started_ticks});
  if (!process.ok()) {
    return Failure{ESRCH,
                   refuse(doing, name, "it does not run", "varve ps -a shows what became of it").message};
  }
  return RunningContainer{std::move(state), std::move(process).value()};
}

}  // namespace varve::launcher
