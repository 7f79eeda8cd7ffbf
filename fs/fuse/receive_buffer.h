#pragma once

// ReceiveBuffer: memory that a thread receives requests from the device into, one at a time. What a WRITE brings lies at the beginning of
// a page there: the kernel copies it out of pages and the upper's file system copies it into pages, and each copy is of whole pages
// then, where it would be two pieces a page. Private to fs/fuse.
// Thread rule: one thread at a time.

#include <cstddef>
#include <functional>

#include "fs/fuse/libfuse.h"

namespace varve::fuse {

// As read(2).
using DeviceRead = std::function<ssize_t(int device, void* memory, std::size_t size_bytes)>;

class ReceiveBuffer {
 public:
  // For requests that bring at most so many bytes behind their headers. No memory is taken yet.
  explicit ReceiveBuffer(std::size_t payload_bytes) : payload_bytes_(payload_bytes) {}
  ReceiveBuffer(const ReceiveBuffer&) = delete;
  ReceiveBuffer& operator=(const ReceiveBuffer&) = delete;
  ~ReceiveBuffer();

  // Waits for the next request of `device`, a /dev/fuse, by `read`. Returns: its bytes; a negative errno: EINTR or EAGAIN when there is
  // none yet, ENOMEM when there is no memory to receive into, EIO for what is no request; else as read(2) of it fails (ENODEV:
  // unmounted). Source: fuse_dev_do_read() in fs/fuse/dev.c of Linux.
  int receive(int device, const DeviceRead& read);
  // What was received last. Valid until the next receive().
  const struct fuse_buf& request() const { return request_; }

 private:
  std::byte* begin() const;
  bool allocate();

  const std::size_t payload_bytes_;
  std::byte* memory_ = nullptr;
  struct fuse_buf request_ {};
};

}  // namespace varve::fuse
