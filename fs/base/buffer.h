#pragma once

// Buffer: memory of a fixed size that holds anything at first. The first 2 MiB of buffers of at least 16 KiB come out of one large
// page of the kernel's, where it has one: fresh memory costs 1.2 us for each small page that is touched in a virtual machine, 0.3 ms
// for a MiB, and as much again to give back; all of the large page together costs 0.04 ms. A process that only reads one program
// needs no other.
// Thread rule: as a pointer; several threads may make and destroy buffers at once. Ownership: owns the memory.

#include <cstddef>
#include <span>
#include <utility>

namespace varve {

class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t size_bytes);
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_bytes_(std::exchange(other.size_bytes_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_bytes_, other.size_bytes_);
    return *this;
  }
  ~Buffer();

  std::size_t size() const { return size_bytes_; }
  std::span<std::byte> bytes() { return {data_, size_bytes_}; }
  std::span<const std::byte> bytes() const { return {data_, size_bytes_}; }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_bytes_ = 0;
};

}  // namespace varve
