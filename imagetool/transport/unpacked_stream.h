#pragma once

// UnpackedStream: what gzip, zstd, bzip2 or xz made of a stream, or the stream itself when it was none of these: told by its first
// bytes. Several compressed streams one behind the other are one; skippable frames of zstd are skipped (zstd:chunked is so).
// Thread rule: one thread. Ownership: borrows the packed stream.

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fs/base/result.h"
#include "imagetool/transport/transport.h"

struct archive;

namespace varve::transport {

struct CloseReader {
  void operator()(archive* open) const;
};
using ArchiveReader = std::unique_ptr<archive, CloseReader>;

class UnpackedStream : public ByteStream {
 public:
  // `name`: how messages call it.
  UnpackedStream(ByteStream& packed, std::string name);

  // Returns: what the packed stream said, or EINVAL when its bytes make no sense.
  ResultOrFailure<std::size_t> read(std::span<std::byte> into) override;

 private:
  static ssize_t on_read(archive* reader, void* self, const void** buffer);
  StatusOrFailure start();
  Failure failure();

  ByteStream& packed_;
  std::string name_;
  std::vector<std::byte> buffer_;
  ArchiveReader reader_;
  std::optional<Failure> failed_;  // of packed_
  bool ended_ = false;
};

}  // namespace varve::transport
