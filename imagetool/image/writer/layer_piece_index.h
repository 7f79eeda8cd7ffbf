#pragma once

// LayerPieceIndex: finds the place of a piece of content by a 64-bit fingerprint. The first piece of each fingerprint is
// kept; who finds one compares the bytes. 16 bytes a slot, at most three in four taken. Lies in parts that grow one by one, so that
// only a part is held twice while it grows. Thread rule: one thread.

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

namespace varve::image {

// Where a piece of content lies.
struct StoredPlace {
  std::uint64_t number = 0;  // of a frame, or of a packed frame when `packed`; below 2^39
  std::uint32_t offset = 0;  // within the frame's content, below kMaxFrameBytes
  bool packed = false;       // LayerContentStore::frame_of() tells the frame once finish() was called
  friend bool operator==(const StoredPlace&, const StoredPlace&) = default;
};

class LayerPieceIndex {
 public:
  LayerPieceIndex();
  std::optional<StoredPlace> find(std::uint64_t fingerprint) const;
  void add(std::uint64_t fingerprint, const StoredPlace& place);

 private:
  struct Slot {
    std::uint64_t fingerprint;
    std::uint64_t place;
  };
  // A hash table of its own, for the fingerprints with the same uppermost bits.
  struct Part {
    std::vector<Slot> slots;  // a power of two
    std::size_t taken = 0;

    // The slot of the fingerprint, or the free one where it would be.
    std::size_t slot_of(std::uint64_t fingerprint) const;
    void grow();
  };
  static constexpr unsigned kPartBits = 4;

  static std::size_t part_number(std::uint64_t fingerprint) { return fingerprint >> (64 - kPartBits); }

  std::array<Part, 1U << kPartBits> parts_;
};

}  // namespace varve::image
