#pragma once

// SparseContent: the content of an open regular file as a ContentSource: its data ranges (SEEK_DATA,
// SEEK_HOLE) in pieces, holes left out. Thread rule: one thread. Ownership: borrows the descriptor, the buffer
// and the monitor.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "imagetool/image/source/tree_source.h"
#include "imagetool/image/writer/layer_writer.h"

namespace varve::image {

class SparseContent : public ContentSource {
 public:
  // `size_bytes`: what the metadata says; a file that ends earlier is a Failure that names `path`. `buffer`: pieces are
  // read into it, so one serves many files, one after the other.
  SparseContent(int fd, std::uint64_t size_bytes, std::string path, std::span<std::byte> buffer,
                Monitor& monitor)
      : fd_(fd), size_bytes_(size_bytes), path_(std::move(path)), buffer_(buffer), monitor_(monitor) {}
  ResultOrFailure<std::optional<Chunk>> next() override;

 private:
  StatusOrFailure find_data();

  int fd_;
  std::uint64_t size_bytes_;
  std::string path_;
  std::span<std::byte> buffer_;
  Monitor& monitor_;
  std::uint64_t offset_ = 0;
  std::uint64_t data_end_ = 0;  // of the range of data that offset_ lies in
};

}  // namespace varve::image
