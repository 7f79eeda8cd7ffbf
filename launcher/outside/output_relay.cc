#include "launcher/outside/output_relay.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>

#include "launcher/explain.h"

namespace varve::launcher {
namespace {

Status make_pipe(UniqueFd& ours, UniqueFd& containers) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return Errno::last();
  ours.reset(ends[0]);
  containers.reset(ends[1]);
  if (::fcntl(ours.get(), F_SETFL, O_NONBLOCK) != 0) return Errno::last();
  return {};
}

}  // namespace

ResultOrFailure<OutputRelay> OutputRelay::make(ContainerLog& log) {
  OutputRelay relay(log);
  Status made = make_pipe(relay.output_, relay.container_output_);
  if (made.ok()) made = make_pipe(relay.error_, relay.container_error_);
  if (!made.ok()) return explain(made.error(), "making the container's output", "pipe");
  return relay;
}

void OutputRelay::release_container_ends() {
  container_output_.reset();
  container_error_.reset();
}

void OutputRelay::add_to(std::vector<struct pollfd>& polled) const {
  if (output_.valid()) polled.push_back({output_.get(), POLLIN, 0});
  if (error_.valid()) polled.push_back({error_.get(), POLLIN, 0});
}

void OutputRelay::handle(const std::vector<struct pollfd>& polled) {
  for (const struct pollfd& one : polled) {
    if (one.revents == 0 || one.fd < 0) continue;
    if (one.fd == output_.get()) {
      copy(output_, LogStream::kOut);
    } else if (one.fd == error_.get()) {
      copy(error_, LogStream::kErr);
    }
  }
}

void OutputRelay::drain() {
  while (output_.valid() && copy(output_, LogStream::kOut)) {
  }
  while (error_.valid() && copy(error_, LogStream::kErr)) {
  }
}

bool OutputRelay::copy(UniqueFd& from, LogStream stream) {
  std::array<char, 65536> bytes;
  const ssize_t got = ::read(from.get(), bytes.data(), bytes.size());
  if (got > 0) {
    log_->write(stream, std::string_view(bytes.data(), static_cast<std::size_t>(got)));
    return true;
  }
  if (got < 0 && errno == EINTR) return true;
  if (got == 0 || errno != EAGAIN) from.reset();
  return false;
}

}  // namespace varve::launcher
