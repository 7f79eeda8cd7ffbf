#pragma once

// Poller: descriptors and what is called when something happens to them: epoll(7), level-triggered.
// Thread rule: one thread.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"

namespace varve::launcher {

class Poller {
 public:
  // Called with the EPOLL... events; may watch and forget any descriptor, its own too.
  using Handler = std::function<void(std::uint32_t events)>;

  static Result<Poller> create();

  // `fd` is borrowed; forget it before it is closed. `events` as for set_events().
  void watch(int fd, std::uint32_t events, Handler handler);
  // With no events the descriptor is out of the epoll set: not even its end is told.
  void set_events(int fd, std::uint32_t events);
  void forget(int fd);

  // Waits up to `timeout_ms` (-1: for ever) and calls the handlers of what has happened.
  void wait(int timeout_ms);

 private:
  struct Watched {
    std::uint32_t generation = 0;  // tells a descriptor from one that had its number before
    std::uint32_t events = 0;
    std::shared_ptr<Handler> handler;
  };
  explicit Poller(UniqueFd epoll) : epoll_(std::move(epoll)) {}
  UniqueFd epoll_;
  std::map<int, Watched> watched_;
  std::uint32_t last_generation_ = 0;
};

}  // namespace varve::launcher
