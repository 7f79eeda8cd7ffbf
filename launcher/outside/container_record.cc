#include "launcher/outside/container_record.h"

#include <ctime>

#include "imagetool/image/store/image_config.h"
#include "launcher/explain.h"
#include "launcher/outside/mapped_removal.h"
#include "launcher/outside/process_record.h"

namespace varve::launcher {
namespace {

// Of what is not made outside.
image::ContainerNetworkState state_of(const NetworkPlan& plan) {
  image::ContainerNetworkState state;
  state.mode = mode_text(plan);
  state.resolver = plan.resolv_conf.value_or("");
  for (const HostEntry& entry : plan.added_hosts) {
    state.hosts.push_back(entry.name + ":" + (entry.address.empty() ? "host-gateway" : entry.address));
  }
  if (plan.joined) {
    state.address = plan.joined->state.address;
    state.gateway = plan.joined->state.gateway;
  }
  return state;
}

}  // namespace

ResultOrFailure<ContainerRecord> ContainerRecord::create(const Plan& plan) {
  image::ContainerState state;
  state.name = plan.name;
  state.id = plan.id;
  state.image_name = plan.image_name;
  state.image_digest = plan.image_digest;
  state.layer_paths.assign(plan.root.lowers.rbegin(), plan.root.lowers.rend());
  state.root_directory = plan.root.directory;
  state.created = image::rfc3339(::time(nullptr));
  state.command = plan.process.arguments;
  if (plan.remove_afterwards) state.boot_id = image::current_boot_id();
  state.namespaces = plan.namespaces().text();
  state.joined_container = plan.joined.container;
  state.joined_namespaces = plan.joined.namespaces.text();
  state.stop_signal = plan.lifetime.stop_signal;
  state.stop_seconds = plan.lifetime.stop_seconds;
  state.detached = plan.lifetime.detached;
  state.cgroups = plan.limits.paths();
  state.limits = plan.limits.limits;
  state.network = state_of(plan.network);
  ContainerRecord record(image::ContainerStore(plan.store_directory), std::move(state));
  VARVE_ASSIGN(
      record.lock_,
      record.store_.create(
          record.state_,
          {.upper = plan.root.own_upper,
           .files = plan.lifetime.detached || plan.mounts.has_anonymous_volumes,
           .process = text_of({.process = plan.process, .setgroups_denied = plan.id_map.deny_setgroups})}));
  return record;
}

void ContainerRecord::note_network(image::ContainerNetworkState network) {
  network.resolver = std::move(state_.network.resolver);
  network.hosts = std::move(state_.network.hosts);
  state_.network = std::move(network);
}

StatusOrFailure ContainerRecord::set_running(const ProcessIdentity& first, const ProcessIdentity& command) {
  state_.status = image::ContainerStatus::kRunning;
  state_.started = image::rfc3339(::time(nullptr));
  state_.pid = first.pid;
  state_.pid_started_ticks = first.started_ticks;
  state_.command_pid = command.pid;
  state_.command_started_ticks = command.started_ticks;
  return store_.write(state_);
}

StatusOrFailure ContainerRecord::set_exited(int exit_status) {
  state_.status = image::ContainerStatus::kExited;
  state_.finished = image::rfc3339(::time(nullptr));
  state_.pid = 0;
  state_.command_pid = 0;
  state_.exit_status = exit_status;
  return store_.write(state_);
}

StatusOrFailure ContainerRecord::remove() {
  VARVE_RETURN_IF_ERROR(remove_with_all_ids(store_.directory_of(state_.name) + "/volumes"));
  return store_.remove(state_.name);
}

}  // namespace varve::launcher
