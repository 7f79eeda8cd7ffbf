#include "launcher/network/poller.h"

#include <sys/epoll.h>

#include <array>

#include "fs/base/check.h"

namespace varve::launcher {

Result<Poller> Poller::create() {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return Errno::last();
  return Poller(std::move(epoll));
}

void Poller::watch(int fd, std::uint32_t events, Handler handler) {
  watched_[fd] = {++last_generation_, 0, std::make_shared<Handler>(std::move(handler))};
  set_events(fd, events);
}

void Poller::set_events(int fd, std::uint32_t events) {
  Watched& one = watched_.at(fd);
  if (one.events == events) return;
  struct epoll_event event = {};
  event.events = events;
  event.data.u64 = std::uint64_t{one.generation} << 32 | static_cast<std::uint32_t>(fd);
  int operation = EPOLL_CTL_MOD;
  if (one.events == 0) operation = EPOLL_CTL_ADD;
  if (events == 0) operation = EPOLL_CTL_DEL;
  VARVE_CHECK(::epoll_ctl(epoll_.get(), operation, fd, &event) == 0 || errno == ENOMEM || errno == ENOSPC);
  one.events = events;
}

void Poller::forget(int fd) {
  set_events(fd, 0);
  watched_.erase(fd);
}

void Poller::wait(int timeout_ms) {
  std::array<struct epoll_event, 64> happened{};
  const int count =
      ::epoll_wait(epoll_.get(), happened.data(), static_cast<int>(happened.size()), timeout_ms);
  for (int index = 0; index < count; ++index) {
    const struct epoll_event& event = happened[static_cast<std::size_t>(index)];
    const auto found = watched_.find(static_cast<int>(event.data.u64 & 0xffffffff));
    if (found == watched_.end() || found->second.generation != event.data.u64 >> 32) continue;
    const std::shared_ptr<Handler> handler = found->second.handler;  // it may forget itself
    (*handler)(event.events);
  }
}

}  // namespace varve::launcher
