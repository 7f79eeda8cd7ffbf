#include "launcher/commands/pause.h"

#include "launcher/cgroup/container_cgroup.h"
#include "launcher/commands/running.h"

namespace varve::launcher {
namespace {

StatusOrFailure set_paused(const std::string& store_path, const std::vector<std::string>& names,
                           bool paused) {
  const image::ContainerStore store = containers_of(store_path);
  const char* const doing = paused ? "pausing the container" : "letting the container go on";
  StatusOrFailure result;
  for (const std::string& name : names) {
    const auto set = [&]() -> StatusOrFailure {
      VARVE_ASSIGN(const RunningContainer container, find_running(store, name, doing));
      VARVE_ASSIGN(const ContainerCgroup cgroup,
                   ContainerCgroup::open(container.state.cgroups, container.state.id));
      return paused ? cgroup.freeze() : cgroup.thaw();
    };
    StatusOrFailure one = set();
    if (result.ok() && !one.ok()) result = std::move(one);
  }
  return result;
}

}  // namespace

StatusOrFailure pause_containers(const PauseOptions& options) {
  return set_paused(options.store, options.names, true);
}

StatusOrFailure unpause_containers(const UnpauseOptions& options) {
  return set_paused(options.store, options.names, false);
}

}  // namespace varve::launcher
