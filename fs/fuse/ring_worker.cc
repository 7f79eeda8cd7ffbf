#include "fs/fuse/ring_worker.h"

#include <linux/fuse.h>
#include <unistd.h>

#include <algorithm>

#include "fs/base/processors.h"

namespace varve::fuse {

Status RingWorker::open() {
  if (processor_) use_one_processor(*processor_);
  return ring_.emplace().open(device_, static_cast<unsigned>(entries_.size()));
}

bool RingWorker::serves(std::uint16_t queue) const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [queue](const auto& entry) { return entry->queue() == queue; });
}

// The kernel looks for requests that wait when an answer is committed, and not when an entry is new. So have it send one: a request
// for the first 0 bytes of what it has cached of a file, which comes to the queue of the processor that this thread is bound to.
void RingWorker::ask_for_waiting() {
  if (!processor_ || crew_.known_file() == 0) return;
  struct {
    struct fuse_out_header header {};
    struct fuse_notify_retrieve_out retrieve {};
  } notice;
  static_assert(sizeof notice == sizeof notice.header + sizeof notice.retrieve);
  notice.header.len = sizeof notice;
  notice.header.error = FUSE_NOTIFY_RETRIEVE;
  notice.retrieve.notify_unique = crew_.new_unique();
  notice.retrieve.nodeid = crew_.known_file();
  // It fails when the kernel has forgotten the file, or the mount is gone.
  [[maybe_unused]] const ssize_t written = ::write(device_, &notice, sizeof notice);
}

void RingWorker::take_all() {
  while (const std::optional<EntryRing::Arrival> arrival = ring_->take()) {
    RingEntry& entry = *arrival->entry;
    if (arrival->error != 0) {
      lost_ = true;
      crew_.lost(entry, arrival->error);
      continue;
    }
    const std::uint64_t number = received_.fetch_add(1, std::memory_order_relaxed) + 1;
    at_hand_.store(number, std::memory_order_release);
    if (const std::optional<struct fuse_buf> request = entry.take_request()) {
      crew_.answer(entry, *request);
      // No handler: libfuse has said so, to the device, where the kernel does not look for it.
      if (!entry.answered()) entry.put_error(ENOSYS);
    } else {
      entry.put_error(EIO);
    }
    at_hand_.store(0, std::memory_order_release);
    ring_->commit(entry);
  }
}

void RingWorker::serve(bool late) {
  for (const auto& entry : entries_) ring_->add(*entry);
  if (late && ring_->submit().ok()) ask_for_waiting();
  while (!lost_ && !crew_.stopping()) {
    const Status waited = ring_->wait();
    if (!waited.ok() && waited.error().value != EINTR) {
      crew_.lost(*entries_.front(), waited.error().value);
      return;
    }
    take_all();
  }
}

}  // namespace varve::fuse
