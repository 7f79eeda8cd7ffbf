#pragma once

// FileStream: a regular file as a ByteStream, from an offset on, whatever the file's own position is. Thread rule: one thread; several
// streams of one file may be used by several. Ownership: shares the file.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "fs/base/unique_fd.h"
#include "imagetool/transport/transport.h"

namespace varve::transport {

using SharedFile = std::shared_ptr<const UniqueFd>;

class FileStream : public ByteStream {
 public:
  // `name`: how messages call it.
  FileStream(SharedFile file, std::uint64_t offset_bytes, std::string name);
  ResultOrFailure<std::size_t> read(std::span<std::byte> into) override;
  // Passes over up to `most_bytes`, never past the end. Returns: how many.
  std::uint64_t skip(std::uint64_t most_bytes);

 private:
  const SharedFile file_;
  std::uint64_t offset_bytes_;
  const std::string name_;
};

}  // namespace varve::transport
