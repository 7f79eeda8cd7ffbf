#include "imagetool/image/layer_content_store.h"

#include <algorithm>
#include <cstring>

namespace varve::image {
namespace {

// Duplicates come in clusters (the same package twice): a few frames serve most comparisons.
constexpr std::size_t kRecentFrames = 8;

}  // namespace

std::size_t LayerContentStore::KeyHash::operator()(const Key& key) const noexcept {
  std::size_t value;
  std::memcpy(&value, key.hash.data(), sizeof value);
  return value;
}

LayerContentStore::Key LayerContentStore::key_of(std::span<const std::byte> content) {
  return Key{format::xxh3_128(content), content.size()};
}

ResultOrFailure<std::span<const std::byte>> LayerContentStore::frame_content(std::uint64_t frame) {
  const auto found =
      std::find_if(recent_.begin(), recent_.end(), [&](const auto& item) { return item.first == frame; });
  if (found == recent_.end()) {
    VARVE_ASSIGN(Bytes content, compressor_.read_back(frame));
    if (recent_.size() >= kRecentFrames) recent_.pop_back();
    recent_.emplace_front(frame, std::move(content));
  }
  const auto held =
      std::find_if(recent_.begin(), recent_.end(), [&](const auto& item) { return item.first == frame; });
  return std::span<const std::byte>(held->second);
}

ResultOrFailure<std::optional<StoredPlace>> LayerContentStore::find(const Key& key,
                                                                    std::span<const std::byte> content) {
  const auto found = places_.find(key);
  if (found == places_.end()) return std::optional<StoredPlace>();
  const StoredPlace& place = found->second;
  std::span<const std::byte> held = packed_;
  if (!place.packed || place.number < packed_frames_.size()) {
    VARVE_ASSIGN(held, frame_content(frame_of(place)));
  }
  if (!std::ranges::equal(held.subspan(place.offset, content.size()), content))
    return std::optional<StoredPlace>();
  duplicate_bytes_ += content.size();
  return std::optional<StoredPlace>(place);
}

ResultOrFailure<StoredPlace> LayerContentStore::add_frame(Bytes content) {
  VARVE_CHECK(!content.empty() && content.size() <= options_.frame_bytes);
  const Key key = key_of(content);
  VARVE_ASSIGN(const std::optional<StoredPlace> before, find(key, content));
  if (before) return *before;
  VARVE_ASSIGN(const std::uint64_t frame, compressor_.submit(std::move(content)));
  const StoredPlace place{.number = frame, .offset = 0, .packed = false};
  places_.try_emplace(key, place);
  return place;
}

ResultOrFailure<StoredPlace> LayerContentStore::add_packed(std::span<const std::byte> content) {
  VARVE_CHECK(!content.empty() && content.size() < options_.frame_bytes);
  const Key key = key_of(content);
  VARVE_ASSIGN(const std::optional<StoredPlace> before, find(key, content));
  if (before) return *before;
  if (packed_.size() + content.size() > options_.packed_frame_bytes) VARVE_RETURN_IF_ERROR(flush_packed());
  const StoredPlace place{
      .number = packed_frames_.size(), .offset = static_cast<std::uint32_t>(packed_.size()), .packed = true};
  packed_.insert(packed_.end(), content.begin(), content.end());
  places_.try_emplace(key, place);
  return place;
}

StatusOrFailure LayerContentStore::flush_packed() {
  if (packed_.empty()) return {};
  VARVE_ASSIGN(const std::uint64_t frame, compressor_.submit(std::exchange(packed_, Bytes())));
  packed_frames_.push_back(frame);
  return {};
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
