#include "imagetool/image/writer/layer_content_store.h"

#include <nettle/sha2.h>

#include <algorithm>
#include <cstring>

namespace varve::image {
namespace {

// Duplicates come in clusters (the same package twice): a few frames serve most comparisons.
constexpr std::size_t kRecentFrames = 8;
// Of large frames so many bytes, but two frames.
constexpr std::size_t kRecentBytes = 8 << 20;

// Half of the hash is enough where bytes are compared. The same half for frames and packed pieces: either may hold the other's
// bytes, and a layer that goes to a pipe finds them by SHA-256.
std::uint64_t fingerprint_of(const format::Hash128& hash) {
  std::uint64_t fingerprint;
  std::memcpy(&fingerprint, hash.data(), sizeof fingerprint);
  return fingerprint;
}

}  // namespace

std::size_t LayerContentStore::Sha256Hash::operator()(const Sha256Bytes& digest) const noexcept {
  std::size_t value;
  std::memcpy(&value, digest.data(), sizeof value);
  return value;
}

LayerContentStore::Key LayerContentStore::key_of(std::span<const std::byte> content,
                                                 std::uint64_t fingerprint) const {
  Key key;
  if (compressor_.can_read_back()) {
    key.fingerprint = fingerprint;
  } else {
    struct sha256_ctx hash;
    ::sha256_init(&hash);
    ::sha256_update(&hash, content.size(), reinterpret_cast<const std::uint8_t*>(content.data()));
    ::sha256_digest(&hash, key.sha256.size(), reinterpret_cast<std::uint8_t*>(key.sha256.data()));
  }
  return key;
}

ResultOrFailure<std::span<const std::byte>> LayerContentStore::frame_content(std::uint64_t frame) {
  const auto found =
      std::find_if(recent_.begin(), recent_.end(), [&](const auto& item) { return item.first == frame; });
  if (found == recent_.end()) {
    VARVE_ASSIGN(Bytes content, compressor_.read_back(frame));
    const std::size_t most =
        std::clamp<std::size_t>(kRecentBytes / options_.packed_frame_bytes, 2, kRecentFrames);
    if (recent_.size() >= most) recent_.pop_back();
    recent_.emplace_front(frame, std::move(content));
  }
  const auto held =
      std::find_if(recent_.begin(), recent_.end(), [&](const auto& item) { return item.first == frame; });
  return std::span<const std::byte>(held->second);
}

ResultOrFailure<bool> LayerContentStore::equals(const StoredPlace& place,
                                                std::span<const std::byte> content) {
  std::span<const std::byte> held = packed_;
  if (!place.packed || place.number < packed_frames_.size()) {
    VARVE_ASSIGN(held, frame_content(frame_of(place)));
  }
  return held.size() - place.offset >= content.size() &&
         std::memcmp(held.data() + place.offset, content.data(), content.size()) == 0;
}

ResultOrFailure<std::optional<StoredPlace>> LayerContentStore::find(const Key& key,
                                                                    std::span<const std::byte> content) {
  std::optional<StoredPlace> place;
  if (compressor_.can_read_back()) {
    place = places_.find(key.fingerprint);
    if (place) {
      VARVE_ASSIGN(const bool same, equals(*place, content));
      if (!same) place.reset();
    }
  } else if (const auto found = places_by_sha256_.find(key.sha256); found != places_by_sha256_.end()) {
    place = found->second;
  }
  if (place) duplicate_bytes_ += content.size();
  return place;
}

void LayerContentStore::note(const Key& key, const StoredPlace& place) {
  if (compressor_.can_read_back()) {
    places_.add(key.fingerprint, place);
  } else {
    places_by_sha256_.try_emplace(key.sha256, place);
  }
}

ResultOrFailure<StoredPlace> LayerContentStore::add_frame(std::span<const std::byte> content) {
  VARVE_CHECK(!content.empty() && content.size() <= options_.frame_bytes);
  const Key key = key_of(content, fingerprint_of(format::xxh3_128(content)));
  VARVE_ASSIGN(const std::optional<StoredPlace> before, find(key, content));
  if (before) return *before;
  VARVE_ASSIGN(const std::uint64_t frame, compressor_.submit(Bytes(content.begin(), content.end())));
  const StoredPlace place{.number = frame, .offset = 0, .packed = false};
  note(key, place);
  return place;
}

ResultOrFailure<StoredPlace> LayerContentStore::add_packed(std::span<const std::byte> content,
                                                           const format::Hash128& hash) {
  VARVE_CHECK(!content.empty() && content.size() < options_.frame_bytes);
  const Key key = key_of(content, fingerprint_of(hash));
  VARVE_ASSIGN(const std::optional<StoredPlace> before, find(key, content));
  if (before) return *before;
  if (packed_.size() + content.size() > options_.packed_frame_bytes) VARVE_RETURN_IF_ERROR(flush_packed());
  if (packed_.empty()) packed_.reserve(options_.packed_frame_bytes);
  const StoredPlace place{
      .number = packed_frames_.size(), .offset = static_cast<std::uint32_t>(packed_.size()), .packed = true};
  packed_.insert(packed_.end(), content.begin(), content.end());
  note(key, place);
  return place;
}

StatusOrFailure LayerContentStore::flush_packed() {
  if (packed_.empty()) return {};
  VARVE_ASSIGN(const std::uint64_t frame, compressor_.submit(std::exchange(packed_, Bytes())));
  packed_frames_.push_back(frame);
  return {};
}

void LayerContentStore::forget_places() {
  places_ = LayerPieceIndex();
  places_by_sha256_ = {};
  recent_ = {};
}

StatusOrFailure LayerContentStore::finish() {
  return flush_packed();
}

std::uint64_t LayerContentStore::frame_of(const StoredPlace& place) const {
  if (!place.packed) return place.number;
  VARVE_CHECK(place.number < packed_frames_.size());
  return packed_frames_[place.number];
}

}  // namespace varve::image
