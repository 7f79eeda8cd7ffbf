#pragma once

// LayerContentStore: puts the data of regular files into frames. Full frames of large files go out as they
// come; pieces shorter than a frame share packed frames, none straddling two. A piece that was stored before
// is stored once: found by XXH3-128 and length, and then compared byte by byte, because XXH3 is not collision
// resistant and an image may come from somebody who knows that. Thread rule: one thread. Ownership: borrows
// the compressor.

#include <cstdint>
#include <deque>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fs/base/result.h"
#include "fs/format/hash.h"
#include "fs/format/layer_layout.h"
#include "imagetool/image/layer_frame_compressor.h"

namespace varve::image {

// Where a piece of content lies.
struct StoredPlace {
  std::uint64_t number = 0;  // of a frame, or of a packed frame when `packed`
  std::uint32_t offset = 0;  // within the frame's content
  bool packed = false;       // frame_of() tells the frame once finish() was called
};

class LayerContentStore {
 public:
  struct Options {
    std::uint32_t frame_bytes = 65536;
    std::uint32_t packed_frame_bytes = 131072;
  };

  LayerContentStore(LayerFrameCompressor& compressor, Options options)
      : compressor_(compressor), options_(options) {}

  std::uint32_t frame_bytes() const { return options_.frame_bytes; }
  // A frame of its own. Requires: 1..frame_bytes bytes.
  ResultOrFailure<StoredPlace> add_frame(Bytes content);
  // A part of a packed frame. Requires: fewer than frame_bytes bytes, at least 1.
  ResultOrFailure<StoredPlace> add_packed(std::span<const std::byte> content);
  // Sends the last packed frame on its way.
  StatusOrFailure finish();

  // Requires: finish() was called.
  std::uint64_t frame_of(const StoredPlace& place) const;
  std::uint64_t duplicate_bytes() const { return duplicate_bytes_; }

 private:
  struct Key {
    format::Hash128 hash;
    std::uint64_t size = 0;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const noexcept;
  };
  static Key key_of(std::span<const std::byte> content);

  // The place of equal content stored before; empty when there is none.
  ResultOrFailure<std::optional<StoredPlace>> find(const Key& key, std::span<const std::byte> content);
  // Valid until the next call.
  ResultOrFailure<std::span<const std::byte>> frame_content(std::uint64_t frame);
  StatusOrFailure flush_packed();

  LayerFrameCompressor& compressor_;
  const Options options_;
  std::unordered_map<Key, StoredPlace, KeyHash> places_;  // the first of each content; about 80 bytes a piece
  Bytes packed_;                                          // the packed frame that is filling
  std::vector<std::uint64_t> packed_frames_;              // frame of each packed frame sent so far
  std::deque<std::pair<std::uint64_t, Bytes>> recent_;    // frames read back, the latest first
  std::uint64_t duplicate_bytes_ = 0;
};

}  // namespace varve::image
