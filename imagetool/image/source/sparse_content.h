#pragma once

// SparseContent: the content of an open regular file as a ContentSource: its data ranges (SEEK_DATA,
// SEEK_HOLE) in pieces, holes left out. Thread rule: one thread. Ownership: borrows the descriptor and the
// monitor.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "imagetool/image/layer_writer.h"
#include "imagetool/image/source/tree_source.h"

namespace varve::image {

class SparseContent : public ContentSource {
 public:
  // `size_bytes`: what the metadata says; a file that ends earlier is a Failure that names `path`.
  SparseContent(int fd, std::uint64_t size_bytes, std::string path, Monitor& monitor);
  ResultOrFailure<std::optional<Chunk>> next() override;

 private:
  StatusOrFailure find_data();

  int fd_;
  std::uint64_t size_bytes_;
  std::string path_;
  Monitor& monitor_;
  std::uint64_t offset_ = 0;
  std::uint64_t data_end_ = 0;  // of the range of data that offset_ lies in
  std::vector<std::byte> buffer_;
};

}  // namespace varve::image
