#pragma once

// read_content: takes one regular file from its source, cuts it into pieces, has them stored and tells where
// they lie. Thread rule: one thread. Owns nothing.

#include <optional>
#include <vector>

#include "fs/format/hash.h"
#include "imagetool/image/layer_content_store.h"
#include "imagetool/image/layer_writer.h"

namespace varve::image {

// A range of the file: one piece in a frame, or a run of consecutive frames of their own.
struct StoredExtent {
  std::uint64_t file_offset = 0;
  std::uint64_t length = 0;
  StoredPlace place;         // of its first byte
  std::uint64_t frames = 1;  // of a run; 0: a hole that hides what would be inherited
};

struct StoredContent {
  std::vector<StoredExtent> extents;
  std::optional<format::Hash128> digest;  // empty when it would cost too much
  std::uint64_t data_bytes = 0;           // without holes
};

// Of a file with more bytes of holes than this no digest is made: a source of a few bytes may claim exabytes
// of zeros.
inline constexpr std::uint64_t kMaxHashedHoleBytes = std::uint64_t{1} << 30;

// Reads `source`, which gives a file of `size_bytes`, to its end. `delta`: the file has a base.
// Returns: EINVAL for pieces out of order or out of range; what the source or the store say.
ResultOrFailure<StoredContent> read_content(ContentSource& source, std::uint64_t size_bytes, bool delta,
                                            LayerContentStore& store);

}  // namespace varve::image
