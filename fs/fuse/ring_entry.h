#pragma once

// RingEntry: the memory through which one request at a time comes from the kernel over io_uring, and its answer goes back. The
// kernel gives a request in three pieces, libfuse wants it in one: the small ones are put before the large one, which stays
// where it is.
// Thread rule: one thread at a time. Ownership: owns the memory, of which the pages that were used count.

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "fs/fuse/libfuse.h"
#include "fs/fuse/wire.h"

namespace varve::fuse {

class RingEntry {
 public:
  // For the queue of one processor, with room for requests and answers of so many bytes behind their headers.
  // Returns: null when there is no memory.
  static std::unique_ptr<RingEntry> make(std::uint16_t queue, std::size_t payload_bytes);
  ~RingEntry();
  RingEntry(const RingEntry&) = delete;
  RingEntry& operator=(const RingEntry&) = delete;

  std::uint16_t queue() const { return queue_; }
  // For the kernel: header and payload.
  std::span<const struct iovec> memory() const { return memory_; }
  // What the answer is committed with; 0 before the first request.
  std::uint64_t commit_id() const { return commit_id_; }

  // The request that the kernel has put here, until it is answered. Empty when its sizes make no sense.
  std::optional<struct fuse_buf> take_request();

  // What follows the header of the answer. One that is too long becomes EIO.
  void put_answer(std::span<const std::byte> content);
  // An answer without content; `error` as a positive errno, 0 for none.
  void put_error(int error);
  // An answer that is put together here is not copied.
  std::span<std::byte> answer_space() { return {payload(), payload_bytes_}; }
  bool answered() const { return answered_; }
  // The errno of the answer, positive; 0: none, or not answered.
  int answered_error() const;
  // Takes back an answer without content: the request may be answered again.
  void take_back() { answered_ = false; }

 private:
  RingEntry(std::uint16_t queue, std::byte* memory, std::size_t payload_bytes);
  std::byte* payload() const;
  void put(int error, std::size_t payload_bytes);
  wire::RingHeader& header() const;

  const std::uint16_t queue_;
  std::byte* const memory_begin_;
  const std::size_t payload_bytes_;
  std::array<struct iovec, 2> memory_;
  std::uint64_t unique_ = 0;  // of the request
  std::uint64_t commit_id_ = 0;
  bool answered_ = true;
};

}  // namespace varve::fuse
