#include "imagetool/image/writer/layer_piece_index.h"

#include <utility>

#include "fs/base/check.h"
#include "fs/format/layer_layout.h"

namespace varve::image {
namespace {

constexpr std::size_t kFirstSlots = 64;
constexpr std::uint64_t kFree = ~std::uint64_t{0};  // no place: its number would be too large

constexpr unsigned kNumberBits = 39;
constexpr unsigned kOffsetBits = format::kMaxFrameLog2;
static_assert(kNumberBits + kOffsetBits + 1 < 64, "a place must differ from kFree");

std::uint64_t pack(const StoredPlace& place) {
  VARVE_CHECK(place.number >> kNumberBits == 0 && place.offset >> kOffsetBits == 0);
  return place.number << (kOffsetBits + 1) | std::uint64_t{place.offset} << 1 | (place.packed ? 1 : 0);
}

StoredPlace unpack(std::uint64_t packed) {
  return StoredPlace{.number = packed >> (kOffsetBits + 1),
                     .offset = static_cast<std::uint32_t>(packed >> 1) & (format::kMaxFrameBytes - 1),
                     .packed = (packed & 1) != 0};
}

}  // namespace

LayerPieceIndex::LayerPieceIndex() {
  for (Part& part : parts_) part.slots.assign(kFirstSlots, Slot{0, kFree});
}

std::size_t LayerPieceIndex::Part::slot_of(std::uint64_t fingerprint) const {
  const std::size_t mask = slots.size() - 1;
  std::size_t at = fingerprint & mask;
  while (slots[at].place != kFree && slots[at].fingerprint != fingerprint) at = (at + 1) & mask;
  return at;
}

void LayerPieceIndex::Part::grow() {
  const std::vector<Slot> before = std::exchange(slots, std::vector<Slot>(slots.size() * 2, Slot{0, kFree}));
  for (const Slot& slot : before) {
    if (slot.place != kFree) slots[slot_of(slot.fingerprint)] = slot;
  }
}

std::optional<StoredPlace> LayerPieceIndex::find(std::uint64_t fingerprint) const {
  const Part& part = parts_[part_number(fingerprint)];
  const Slot& slot = part.slots[part.slot_of(fingerprint)];
  if (slot.place == kFree) return std::nullopt;
  return unpack(slot.place);
}

void LayerPieceIndex::add(std::uint64_t fingerprint, const StoredPlace& place) {
  Part& part = parts_[part_number(fingerprint)];
  if ((part.taken + 1) * 4 > part.slots.size() * 3) part.grow();
  Slot& slot = part.slots[part.slot_of(fingerprint)];
  if (slot.place != kFree) return;
  slot = Slot{fingerprint, pack(place)};
  ++part.taken;
}

}  // namespace varve::image
