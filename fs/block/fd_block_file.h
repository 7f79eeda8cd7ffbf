#pragma once

// FdBlockFile: the BlockFile over a real descriptor. Thread rule: as BlockFile; seek_* move the descriptor's
// file offset, which nothing here relies on. Ownership: owns the descriptor.

#include "fs/base/unique_fd.h"
#include "fs/block/block_file.h"

namespace varve::block {

class FdBlockFile final : public BlockFile {
 public:
  // Requires: `fd` is an open regular file.
  explicit FdBlockFile(UniqueFd fd) : fd_(std::move(fd)) {}

  int fd() const { return fd_.get(); }

  Result<std::size_t> read_at(std::uint64_t offset_bytes, std::span<std::byte> out) const override;
  Status write_at(std::uint64_t offset_bytes, std::span<const std::byte> data) override;
  Result<std::uint64_t> size_bytes() const override;
  Status truncate(std::uint64_t size_bytes) override;
  Status allocate(int mode, std::uint64_t offset_bytes, std::uint64_t size_bytes) override;
  Status sync(bool data_only) override;
  Result<std::optional<std::uint64_t>> seek_data(std::uint64_t offset_bytes) const override;
  Result<std::optional<std::uint64_t>> seek_hole(std::uint64_t offset_bytes) const override;
  Result<std::uint64_t> blocks_512() const override;

 private:
  Result<std::optional<std::uint64_t>> seek(std::uint64_t offset_bytes, int whence) const;

  UniqueFd fd_;
};

}  // namespace varve::block
