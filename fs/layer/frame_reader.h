#pragma once

// FrameReader: fetches, verifies and decodes the frames of one layer file. The stored bytes are compared with
// their checksum before the decoder sees them, every time. Thread rule: every method may be called from any
// thread. Ownership: borrows the descriptor and the tables.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "fs/base/result.h"
#include "fs/format/layer_decode.h"
#include "fs/layer/block.h"
#include "fs/layer/read_around.h"

namespace varve::layer {

// Why a frame cannot be read.
struct [[nodiscard]] FrameDamage {
  Errno error{EIO};
  std::string message;  // "frame N at offset O: checksum mismatch (expected .., found ..)"
};

class FrameReader {
 public:
  FrameReader(int fd, const format::LayerTables& tables) : fd_(fd), tables_(tables), around_(fd) {}

  // The frame's record, checked by itself (format::check_frame).
  Result<const format::Frame*, FrameDamage> record(std::uint64_t frame) const;

  // Returns: the content of the frame; ENOMEM; EIO for damage, a truncated file or a failing disk.
  Result<BlockPtr, FrameDamage> read(std::uint64_t frame) const;
  // The same into `content`, which is as long as the record says; after a failure it holds anything.
  Result<void, FrameDamage> read_into(std::uint64_t frame, std::span<std::byte> content) const;

 private:
  int fd_;
  const format::LayerTables& tables_;
  ReadAround around_;
};

}  // namespace varve::layer
