#pragma once

// Le16, Le32, Le64, LeS64: integers as they lie on disk, little-endian, with no alignment requirement, so that a
// structure of them may be overlaid on mapped bytes.

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

namespace varve {

template <class Integer>
class LittleEndian {
 public:
  LittleEndian() = default;
  LittleEndian(Integer value) { store(value); }  // NOLINT(google-explicit-constructor)
  LittleEndian& operator=(Integer value) {
    store(value);
    return *this;
  }
  operator Integer() const { return get(); }  // NOLINT(google-explicit-constructor)
  Integer get() const {
    Integer value;
    std::memcpy(&value, bytes_.data(), sizeof value);
    return value;
  }

 private:
  static_assert(std::endian::native == std::endian::little, "big-endian hosts need a byte swap here");
  void store(Integer value) { std::memcpy(bytes_.data(), &value, sizeof value); }
  std::array<unsigned char, sizeof(Integer)> bytes_{};
};

using Le16 = LittleEndian<std::uint16_t>;
using Le32 = LittleEndian<std::uint32_t>;
using Le64 = LittleEndian<std::uint64_t>;
using LeS64 = LittleEndian<std::int64_t>;

}  // namespace varve
