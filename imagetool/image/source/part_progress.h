#pragma once

// PartProgress: how far work is that has several parts under way at once: layers that are fetched, above all. Threads that do a part
// tell it here, and never the Monitor, which belongs to one thread; a Monitor that was shown the object (Monitor::show_parts) reads it
// whenever that thread calls it. So nothing is drawn from two threads, and no thread waits for a terminal.
// Thread rule: all calls from any thread at any time. Ownership: shared by who does the work and who shows it.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "fs/base/mutex.h"

namespace varve::image {

class PartProgress {
 public:
  using Clock = std::chrono::steady_clock;
  enum class State : std::uint8_t {
    kWaiting,
    kRunning,
    kDone,
    kThere,  // there was nothing to do
  };
  struct Part {
    std::string name;  // printable ASCII
    std::uint64_t total_bytes = 0;
    std::uint64_t done_bytes = 0;
    State state = State::kWaiting;
    Clock::time_point begin = {}, end = {};  // of those that began, and of those that are done
  };

  // `what`: what is done to all of them, one word of printable ASCII: "fetching".
  PartProgress(std::string what, std::vector<Part> parts)
      : what_(std::move(what)), parts_(std::move(parts)) {}

  void begin(std::size_t index);
  void advance(std::size_t index, std::uint64_t bytes);
  void end(std::size_t index);

  const std::string& what() const { return what_; }
  // As they are at this moment.
  std::vector<Part> parts() const;

 private:
  const std::string what_;
  mutable Mutex mutex_;
  std::vector<Part> parts_ GUARDED_BY(mutex_);
};

}  // namespace varve::image
