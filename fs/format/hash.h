#pragma once

// The hashes of the layer format. They detect damage, not malice: XXH3 is not collision resistant.
// Source: xxHash specification and library, https://github.com/Cyan4973/xxHash (XXH3, seed 0).
// Thread rule: functions are pure; a ContentHasher belongs to one thread at a time.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace varve::format {

using Hash128 = std::array<unsigned char, 16>;  // canonical (big-endian) form

std::uint64_t xxh3_64(std::span<const std::byte> bytes);
Hash128 xxh3_128(std::span<const std::byte> bytes);

// What directories are sorted by: the low half of XXH3-64 of the name.
std::uint32_t name_hash(std::string_view name);

// 32 hexadecimal digits.
std::string to_hex(const Hash128& hash);

// XXH3-128 of content that comes in pieces.
class ContentHasher {
 public:
  ContentHasher();
  ContentHasher(const ContentHasher&) = delete;
  ContentHasher& operator=(const ContentHasher&) = delete;
  ~ContentHasher();

  void update(std::span<const std::byte> bytes);
  void update_zeros(std::uint64_t count_bytes);
  Hash128 digest() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The bytes of a structure of layer_layout.h, for hashing and writing.
template <class T>
std::span<const std::byte> bytes_of(const T& value) {
  static_assert(alignof(T) == 1);
  return std::as_bytes(std::span<const T, 1>(&value, 1));
}

}  // namespace varve::format
