#pragma once

// read_content: takes one regular file from its source, cuts it into pieces, has them stored and tells where
// they lie. Thread rule: one thread. Owns nothing.

#include <optional>
#include <vector>

#include "fs/format/hash.h"
#include "imagetool/image/writer/layer_content_store.h"
#include "imagetool/image/writer/layer_writer.h"

namespace varve::image {

// A range of the file: one piece in a frame, or a run of consecutive frames.
struct StoredExtent {
  std::uint64_t file_offset = 0;
  std::uint64_t length = 0;
  StoredPlace place;         // of its first byte
  std::uint64_t frames = 1;  // of a run; 0: a hole that hides what would be inherited
  // When the bytes lie in a parent, of which `place` then tells a frame: its PARENT index, and ParentPlace::run_frame_bytes.
  std::uint16_t source = 0;
  std::uint32_t run_frame_bytes = 0;

  // Whether the bytes lie in more than one frame.
  bool is_run() const {
    return source == 0 ? frames > 1 : run_frame_bytes != 0 && place.offset + length > run_frame_bytes;
  }
};

struct StoredContent {
  std::vector<StoredExtent> extents;
  std::optional<format::Hash128> digest;  // empty when it would cost too much
  std::uint64_t data_bytes = 0;           // without holes
  std::uint64_t parent_bytes = 0;         // of those, in frames of parents
};

// Of a file with more bytes of holes than this no digest is made: a source of a few bytes may claim exabytes
// of zeros.
inline constexpr std::uint64_t kMaxHashedHoleBytes = std::uint64_t{1} << 30;

// Reads `source`, which gives a file of `size_bytes`, to its end. `delta`: the file has a base.
// Returns: EINVAL for pieces out of order or out of range; what the source or the store say.
ResultOrFailure<StoredContent> read_content(ContentSource& source, std::uint64_t size_bytes, bool delta,
                                            LayerContentStore& store);

}  // namespace varve::image
