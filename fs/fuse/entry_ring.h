#pragma once

// EntryRing: the io_uring of one thread, on which the kernel hands out requests through ring entries. Private to fs/fuse.
// Thread rule: all by the thread that opened it (the kernel then works for it only while it waits, and never interrupts it).
// Ownership: owns the ring, borrows device and entries.

#include <liburing.h>

#include <optional>

#include "fs/base/result.h"
#include "fs/fuse/ring_entry.h"
#include "fs/fuse/wire.h"

namespace varve::fuse {

class EntryRing {
 public:
  EntryRing() = default;
  ~EntryRing();
  EntryRing(const EntryRing&) = delete;
  EntryRing& operator=(const EntryRing&) = delete;

  Status open(int device, unsigned entries);

  // Gives a new entry to the kernel, with the next submit() or wait().
  void add(RingEntry& entry);
  // Gives the answer in it, and the entry back for the next request, with the next submit() or wait().
  void commit(RingEntry& entry);
  Status submit();
  // Submits, and waits until there is something to take. Returns: EINTR when a signal came.
  Status wait();

  struct Arrival {
    RingEntry* entry = nullptr;
    int error = 0;  // a positive errno: the kernel does not take the entry; 0: it has a request
  };
  // What has come, one at a time.
  std::optional<Arrival> take();

 private:
  void queue(RingEntry& entry, wire::RingOperation operation);

  struct io_uring ring_ {};
  bool open_ = false;
};

}  // namespace varve::fuse
