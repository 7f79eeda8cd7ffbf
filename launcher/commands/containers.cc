#include "launcher/commands/containers.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "imagetool/image/store/container_state.h"
#include "launcher/cgroup/container_cgroup.h"
#include "launcher/commands/running.h"
#include "launcher/commands/stop.h"
#include "launcher/explain.h"
#include "launcher/outside/mapped_removal.h"

namespace varve::launcher {
namespace {

// "running", "exited (3)", or "died" when its launcher was killed before it could write down the end.
ResultOrFailure<std::string> status_text(const image::ContainerStore& store,
                                         const image::ContainerState& state) {
  if (state.status == image::ContainerStatus::kExited) return fmt::format("exited ({})", state.exit_status);
  VARVE_ASSIGN(const std::optional<UniqueFd> lock, store.lock_stopped(state.name));
  if (lock) return std::string("died");
  const ResultOrFailure<ContainerCgroup> cgroup = ContainerCgroup::open(state.cgroups, state.id);
  if (cgroup.ok() && cgroup->is_frozen()) return std::string("paused");
  return std::string(image::to_text(state.status));
}

std::string origin_of(const image::ContainerState& state) {
  if (!state.image_name.empty()) return state.image_name;
  if (!state.image_digest.empty()) return state.image_digest;
  return state.root_directory.empty() ? fmt::format("{} layers", state.layer_paths.size())
                                      : state.root_directory;
}

nlohmann::json to_json(const image::ContainerState& state, const std::string& status) {
  return {{"Name", state.name},
          {"Id", state.id},
          {"Image", state.image_name},
          {"ImageDigest", state.image_digest},
          {"Layers", state.layer_paths},
          {"RootDirectory", state.root_directory},
          {"Created", state.created},
          {"Command", state.command},
          {"Status", status},
          {"Pid", status == "running" ? state.pid : 0},
          {"Started", state.started},
          {"Finished", state.finished},
          {"Namespaces", state.namespaces},
          {"Joined", {{"Container", state.joined_container}, {"Namespaces", state.joined_namespaces}}},
          {"Detached", state.detached},
          {"StopSignal", state.stop_signal.empty() ? "SIGTERM" : state.stop_signal},
          {"StopTimeout", state.stop_seconds},
          {"Network",
           {{"Mode", state.network.mode},
            {"Address", state.network.address},
            {"Gateway", state.network.gateway},
            {"HostLink", state.network.host_link},
            {"Published", state.network.published}}},
          {"ExitStatus", state.exit_status},
          {"OomKilled", state.oom_killed},
          {"Limits", state.limits},
          {"Cgroups", state.cgroups}};
}

std::string json_text(const nlohmann::json& value) {
  return value.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  // Control characters of a command have no place on a person's terminal.
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < ' ' || c == 127; }, '?');
  return text;
}

// All that a container that does not run still owns. Requires: its lock is held.
StatusOrFailure remove_stopped(const image::ContainerStore& store, const image::ContainerState& state) {
  VARVE_ASSIGN(const ContainerCgroup cgroup, ContainerCgroup::open(state.cgroups, state.id));
  VARVE_RETURN_IF_ERROR(cgroup.remove());
  VARVE_RETURN_IF_ERROR(remove_with_all_ids(store.directory_of(state.name) + "/volumes"));
  return store.remove(state.name);
}

}  // namespace

ResultOrFailure<std::string> list_containers(const ListOptions& options) {
  const image::ContainerStore store = containers_of(options.store);
  VARVE_ASSIGN(const std::vector<image::ContainerState> states, store.list());
  nlohmann::json objects = nlohmann::json::array();
  std::string lines = options.quiet ? ""
                                    : fmt::format("{:<20} {:<12} {:>8} {:<21} {:<24} {}\n", "NAME", "STATUS",
                                                  "PID", "CREATED", "IMAGE", "COMMAND");
  for (const image::ContainerState& state : states) {
    VARVE_ASSIGN(const std::string status, status_text(store, state));
    const bool is_alive = status == "running" || status == "paused";
    if (!options.all && !is_alive) continue;
    if (options.json) objects.push_back(to_json(state, status));
    if (options.quiet) {
      lines += state.name + "\n";
      continue;
    }
    lines += fmt::format("{:<20} {:<12} {:>8} {:<21} {:<24} {}\n", state.name, status,
                         is_alive ? state.pid : 0, state.created, origin_of(state), joined(state.command));
  }
  return options.json ? json_text(objects) : lines;
}

ResultOrFailure<std::string> inspect_containers(const std::string& store_path,
                                                const std::vector<std::string>& names) {
  const image::ContainerStore store = containers_of(store_path);
  nlohmann::json objects = nlohmann::json::array();
  for (const std::string& name : names) {
    VARVE_ASSIGN(const image::ContainerState state, store.read(name));
    VARVE_ASSIGN(const std::string status, status_text(store, state));
    nlohmann::json object = to_json(state, status);
    if (::access(store.upper_path(name).c_str(), F_OK) == 0) object["Upper"] = store.upper_path(name);
    objects.push_back(std::move(object));
  }
  return json_text(objects);
}

StatusOrFailure remove_containers(const RemoveOptions& options) {
  const image::ContainerStore store = containers_of(options.store);
  for (const std::string& name : options.names) {
    VARVE_ASSIGN(const image::ContainerState state, store.read(name));
    if (options.force) VARVE_RETURN_IF_ERROR(kill_and_wait(options.store, name));
    // One that removes itself at its end (--rm) may be gone by now.
    ResultOrFailure<std::optional<UniqueFd>> lock = store.lock_stopped(state.name);
    if (!lock.ok() && options.force && lock.error().error_number == ENOENT) continue;
    if (!lock.ok()) return std::move(lock).error();
    if (!*lock) return refuse("removing the container", name, "it runs", "stop it first, or use --force");
    VARVE_RETURN_IF_ERROR(remove_stopped(store, state));
  }
  return {};
}

ResultOrFailure<std::string> prune_containers(const std::string& store_path) {
  const image::ContainerStore store = containers_of(store_path);
  VARVE_ASSIGN(const std::vector<image::ContainerState> states, store.list());
  std::string removed;
  for (const image::ContainerState& state : states) {
    const ResultOrFailure<std::optional<UniqueFd>> lock = store.lock_stopped(state.name);
    if (!lock.ok() && lock.error().error_number == ENOENT) continue;  // by another at the same time
    if (!lock.ok()) return lock.error();
    if (!*lock) continue;
    VARVE_RETURN_IF_ERROR(remove_stopped(store, state));
    removed += state.name + "\n";
  }
  VARVE_RETURN_IF_ERROR(store.remove_leftovers());
  return removed;
}

}  // namespace varve::launcher
