#include "launcher/network/container_network.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>

#include "fs/base/log.h"
#include "launcher/explain.h"

namespace varve::launcher {
namespace {

// ioctl_ns(2)
ResultOrFailure<UniqueFd> open_owner(const UniqueFd& network_namespace) {
  UniqueFd owner(::ioctl(network_namespace.get(), NS_GET_USERNS));
  if (!owner.valid())
    return explain(Errno::last(), "opening the container's user namespace", "NS_GET_USERNS");
  return owner;
}

// With pasta the ports are not ours to hold; but only here is it told well which of them cannot be had, and a free one is
// chosen. Between this and pasta's start another program may take it; then pasta says so.
ResultOrFailure<std::vector<PublishedPort>> look_at_ports(const std::vector<PublishedPort>& ports) {
  VARVE_ASSIGN(const std::vector<BoundPort> bound, bind_ports(ports));
  std::vector<PublishedPort> chosen;
  for (const BoundPort& one : bound) chosen.push_back(one.port);
  return chosen;
}

}  // namespace

NetworkConnection NetworkConnection::parse(const std::string& text) {
  const std::size_t space = text.find(' ');
  if (space == std::string::npos) return {};
  return {text.substr(0, space), text.substr(space + 1)};
}

ResultOrFailure<UniqueFd> open_network_namespace(pid_t pid) {
  const std::string path = fmt::format("/proc/{}/ns/net", pid);
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return explain(Errno::last(), "opening the container's network", path);
  return fd;
}

ResultOrFailure<ContainerNetwork> ContainerNetwork::connect(const NetworkPlan& plan, NetworkTarget target) {
  for (const std::string& warning : plan.warnings) log_warning("{}", warning);
  NetworkPlan chosen = plan;
  KeeperTask task{.plan = chosen, .container_id = target.container_id, .container_fd = target.process_fd};
  task.network_namespace = std::move(target.network_namespace);
  NetworkConnection connection;
  image::ContainerNetworkState state;
  state.mode = mode_text(plan);
  if (plan.mode == NetworkMode::kPasta) {
    if (target.own_user_namespace) {
      VARVE_ASSIGN(task.user_namespace, open_owner(task.network_namespace));
    }
    VARVE_ASSIGN(chosen.ports, look_at_ports(plan.ports));
  } else {
    // The ports first: they are what fails most, and nothing is to be taken back then.
    VARVE_ASSIGN(task.ports, bind_ports(plan.ports));
    VARVE_ASSIGN(task.attachment,
                 attach_to_bridge(task.network_namespace.get(), target.container_id, plan.address));
    connection = {task.attachment->address.base.text(), task.attachment->gateway.text()};
    state.address = connection.address;
    state.gateway = connection.gateway;
    state.host_link = task.attachment->host_link;
    chosen.ports.clear();
    for (const BoundPort& one : task.ports) chosen.ports.push_back(one.port);
  }
  for (const PublishedPort& port : chosen.ports) state.published.push_back(to_text(port));
  VARVE_ASSIGN(NetworkKeeper keeper, NetworkKeeper::start(std::move(task)));
  return ContainerNetwork(std::move(connection), std::move(state), std::move(keeper));
}

StatusOrFailure ContainerNetwork::clean_up_after_keeper(const std::string& container_id) const {
  if (state_.host_link.empty()) return {};
  return detach_from_bridge(state_.host_link, container_id);
}

}  // namespace varve::launcher
