#pragma once

// RingWorker: one thread of Rings, with its ring and entries. Private to fs/fuse.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "fs/base/result.h"
#include "fs/fuse/entry_ring.h"
#include "fs/fuse/ring_entry.h"

namespace varve::fuse {

// What all workers of a session share. Thread rule: any thread.
class RingCrew {
 public:
  virtual ~RingCrew() = default;
  // Answers the request in `entry`, on this thread or another; it has been when this returns.
  virtual void answer(RingEntry& entry, const struct fuse_buf& request) = 0;
  virtual bool stopping() const = 0;
  // The node of a regular file that the kernel may know; 0: none.
  virtual std::uint64_t known_file() const = 0;
  // Another one each time, that no request of the kernel has.
  virtual std::uint64_t new_unique() = 0;
  // The kernel did not take an entry, or gave it back without a request: `error` says why.
  virtual void lost(const RingEntry& entry, int error) = 0;
};

class RingWorker {
 public:
  // Of the queues of these entries; bound to `processor`, if any.
  RingWorker(RingCrew& crew, int device, std::vector<std::unique_ptr<RingEntry>> entries,
             std::optional<unsigned> processor)
      : crew_(crew), device_(device), entries_(std::move(entries)), processor_(processor) {}

  // The thread's parts, in this order. First: returns why there is no ring.
  Status open();
  // Until the session ends. `late`: requests may be waiting in the queue since before this worker came to it.
  void serve(bool late);
  // Closes the ring, where the process goes on.
  void close() { ring_.reset(); }
  // Nothing comes after this.
  void end() { ended_.store(true); }

  // By other threads.
  std::uint64_t received() const { return received_.load(std::memory_order_relaxed); }
  bool serves(std::uint16_t queue) const;
  // Which of the received requests it is at; 0: none.
  std::uint64_t at_hand() const { return at_hand_.load(); }
  bool has_ended() const { return ended_.load(); }

  std::thread thread;
  // For the thread that ticks: at_hand() at the last tick, and when it was last found to hang.
  std::uint64_t seen_at_hand = 0;
  std::uint64_t hung_at_hand = 0;
  bool hangs() const { return at_hand() != 0 && at_hand() == seen_at_hand; }

 private:
  void take_all();
  void ask_for_waiting();

  RingCrew& crew_;
  const int device_;
  const std::vector<std::unique_ptr<RingEntry>> entries_;
  const std::optional<unsigned> processor_;
  std::optional<EntryRing> ring_;
  std::atomic<std::uint64_t> received_{0};
  std::atomic<std::uint64_t> at_hand_{0};
  std::atomic<bool> ended_{false};
  bool lost_ = false;
};

}  // namespace varve::fuse
