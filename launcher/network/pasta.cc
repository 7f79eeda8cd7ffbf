#include "launcher/network/pasta.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <sstream>

#include "fs/base/unique_fd.h"
#include "launcher/explain.h"
#include "launcher/inside/pid_init.h"

namespace varve::launcher {
namespace {

constexpr const char* kStarting = "connecting the container with pasta";
constexpr int kCannotStart = 127;

// The option once for each port: an address counts for all ports of its word. `option` with "none" when there is none.
void add_port_words(const std::vector<PublishedPort>& ports, Protocol protocol, const char* option,
                    std::vector<std::string>& words) {
  const std::size_t before = words.size();
  for (const PublishedPort& port : ports) {
    if (port.protocol != protocol) continue;
    const std::string address = port.host_address.value == 0 ? std::string() : port.host_address.text() + "/";
    words.insert(words.end(), {option, fmt::format("{}{}:{}", address, port.host_port, port.container_port)});
  }
  if (words.size() == before) words.insert(words.end(), {option, "none"});
}

std::string fd_path(int fd) {
  return fmt::format("/proc/self/fd/{}", fd);
}

[[noreturn]] void become_pasta(std::vector<std::string> words, const PastaNamespaces& namespaces,
                               int output_fd) {
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  // Only here do they stay open in another program.
  ::fcntl(namespaces.network_fd, F_SETFD, 0);
  if (namespaces.user_fd >= 0) ::fcntl(namespaces.user_fd, F_SETFD, 0);
  if (::dup2(output_fd, STDERR_FILENO) >= 0) ::execv(arguments[0], arguments.data());
  const std::string why = std::string("cannot be started: ") + std::strerror(errno);
  [[maybe_unused]] const ssize_t written = ::write(output_fd, why.data(), why.size());
  ::_exit(kCannotStart);
}

// The last line of what has been said so far, which is the reason. Complaints of a missing system log are none.
std::string reason_on(int fd) {
  std::array<char, 4096> bytes{};
  const ssize_t got = ::read(fd, bytes.data(), bytes.size());
  std::istringstream lines(std::string(bytes.data(), got > 0 ? static_cast<std::size_t>(got) : 0));
  std::string reason;
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && line.find("to syslog") == std::string::npos) reason = line;
  }
  return reason;
}

}  // namespace

std::vector<std::string> pasta_arguments(const NetworkPlan& plan, const PastaNamespaces& namespaces,
                                         bool as_root) {
  std::vector<std::string> words = {
      plan.pasta_path, "--config-net", "--quiet", "--stderr",
      // Programs of the host that listen on its loopback are not for the container.
      "--no-map-gw", "-T", "none", "-U", "none", "--ns-ifname", "eth0"};
  add_port_words(plan.ports, Protocol::kTcp, "-t", words);
  add_port_words(plan.ports, Protocol::kUdp, "-u", words);
  if (plan.forward_dns) words.insert(words.end(), {"--dns-forward", kForwardedDns});
  if (as_root) words.insert(words.end(), {"--runas", "0"});
  if (namespaces.user_fd >= 0) {
    words.insert(words.end(), {"--userns", fd_path(namespaces.user_fd)});
  } else {
    words.emplace_back("--netns-only");
  }
  words.insert(words.end(), {"--netns", fd_path(namespaces.network_fd)});
  return words;
}

StatusOrFailure start_pasta(const NetworkPlan& plan, const PastaNamespaces& namespaces) {
  // So that what goes into the background becomes a child of this process, which ends it.
  become_subreaper();
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0)
    return explain(Errno::last(), kStarting, plan.pasta_path);
  const UniqueFd output(ends[0]);
  const UniqueFd pasta_end(ends[1]);
  const pid_t pid = ::fork();
  if (pid == 0) {
    become_pasta(pasta_arguments(plan, namespaces, ::geteuid() == 0), namespaces, pasta_end.get());
  }
  if (pid < 0) return explain(Errno::last(), kStarting, plan.pasta_path);
  int wait_status = 0;
  while (::waitpid(pid, &wait_status, 0) < 0) {
    if (errno != EINTR) return explain(Errno::last(), kStarting, plan.pasta_path);
  }
  if (wait_status == 0) return {};
  return refuse(kStarting, plan.pasta_path,
                fmt::format("exit status {}: {}", exit_status_of(wait_status), reason_on(output.get())),
                "does the host have a default route, and is /dev/net/tun open to this user?");
}

}  // namespace varve::launcher
