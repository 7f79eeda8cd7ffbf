#pragma once

// LowerContent: a file of an open layer as content for a new one. Thread rule: one thread. Ownership: borrows file and monitor.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fs/layer/layer.h"
#include "imagetool/image/source/tree_source.h"
#include "imagetool/image/writer/layer_writer.h"

namespace varve::image {

// The content of a file of a layer: all of it, or some ranges, in which holes are told too. In whole blocks.
class LowerContent : public ContentSource {
 public:
  struct What {
    std::vector<layer::Range> ranges;  // begin at blocks, end there or with the file
    bool is_delta = false;
    std::optional<format::Hash128> digest;     // of the whole file, of a delta
    std::optional<std::uint64_t> data_blocks;  // likewise
    std::string path;                          // for messages
  };
  LowerContent(const layer::LowerFile& file, What what, Monitor& monitor)
      : file_(file), what_(std::move(what)), monitor_(monitor) {}

  std::optional<format::Hash128> whole_digest() const override { return what_.digest; }
  std::optional<std::uint64_t> data_blocks() const override { return what_.data_blocks; }

  ResultOrFailure<std::optional<Chunk>> next() override;

 private:
  ResultOrFailure<std::size_t> read(std::uint64_t offset, std::uint64_t most);

  const layer::LowerFile& file_;
  const What what_;
  Monitor& monitor_;
  std::vector<std::byte> buffer_;
  std::size_t next_ = 0;          // of the ranges
  std::uint64_t done_bytes_ = 0;  // of that range
};

}  // namespace varve::image
