#pragma once

// LayerContentStore: puts the data of regular files into frames. Full frames of large files go out as they
// come; pieces shorter than a frame share packed frames, none straddling two. A piece that was stored before
// is stored once: found by XXH3 and then compared byte by byte, because XXH3 is not collision resistant and an
// image may come from somebody who knows that. Where nothing can be read back to compare (a pipe), pieces are
// found by SHA-256, which is: more work, the same layer. Thread rule: one thread. Ownership: borrows the compressor.

#include <array>
#include <cstdint>
#include <deque>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fs/base/result.h"
#include "fs/format/hash.h"
#include "fs/format/layer_layout.h"
#include "imagetool/image/writer/layer_frame_compressor.h"
#include "imagetool/image/writer/layer_piece_index.h"

namespace varve::image {

class LayerContentStore {
 public:
  struct Options {
    std::uint32_t frame_bytes = 65536;
    std::uint32_t packed_frame_bytes = 262144;
  };

  LayerContentStore(LayerFrameCompressor& compressor, Options options)
      : compressor_(compressor), options_(options) {}

  std::uint32_t frame_bytes() const { return options_.frame_bytes; }
  // A frame of its own. Requires: 1..frame_bytes bytes.
  ResultOrFailure<StoredPlace> add_frame(std::span<const std::byte> content);
  // A part of a packed frame. Requires: fewer than frame_bytes bytes, at least 1; `hash` is theirs.
  ResultOrFailure<StoredPlace> add_packed(std::span<const std::byte> content, const format::Hash128& hash);
  // Frees what finds duplicates. Nothing is added afterwards.
  void forget_places();
  // Sends the last packed frame on its way.
  StatusOrFailure finish();

  // Requires: finish() was called.
  std::uint64_t frame_of(const StoredPlace& place) const;
  std::uint64_t duplicate_bytes() const { return duplicate_bytes_; }

 private:
  using Sha256Bytes = std::array<unsigned char, 32>;
  struct Sha256Hash {
    std::size_t operator()(const Sha256Bytes& digest) const noexcept;
  };
  // What a piece is found by: the one or the other, by can_read_back().
  struct Key {
    std::uint64_t fingerprint = 0;
    Sha256Bytes sha256{};
  };

  // `fingerprint` of the piece, when pieces are compared.
  Key key_of(std::span<const std::byte> content, std::uint64_t fingerprint) const;
  // The place of equal content stored before; empty when there is none.
  ResultOrFailure<std::optional<StoredPlace>> find(const Key& key, std::span<const std::byte> content);
  ResultOrFailure<bool> equals(const StoredPlace& place, std::span<const std::byte> content);
  void note(const Key& key, const StoredPlace& place);
  // Valid until the next call.
  ResultOrFailure<std::span<const std::byte>> frame_content(std::uint64_t frame);
  StatusOrFailure flush_packed();

  LayerFrameCompressor& compressor_;
  const Options options_;
  LayerPieceIndex places_;  // the first of each content
  std::unordered_map<Sha256Bytes, StoredPlace, Sha256Hash>
      places_by_sha256_;                                // instead, about 80 bytes a piece
  Bytes packed_;                                        // the packed frame that is filling
  std::vector<std::uint64_t> packed_frames_;            // frame of each packed frame sent so far
  std::deque<std::pair<std::uint64_t, Bytes>> recent_;  // frames read back, the latest first
  std::uint64_t duplicate_bytes_ = 0;
};

}  // namespace varve::image
