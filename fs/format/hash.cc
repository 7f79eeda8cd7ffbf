#include "fs/format/hash.h"

#include <xxhash.h>

#include <algorithm>
#include <new>

#include "fs/base/check.h"

namespace varve::format {
namespace {

Hash128 canonical(XXH128_hash_t hash) {
  XXH128_canonical_t bytes;
  XXH128_canonicalFromHash(&bytes, hash);
  Hash128 result;
  std::copy(std::begin(bytes.digest), std::end(bytes.digest), result.begin());
  return result;
}

}  // namespace

std::uint64_t xxh3_64(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

Hash128 xxh3_128(std::span<const std::byte> bytes) {
  return canonical(XXH3_128bits(bytes.data(), bytes.size()));
}

std::uint32_t name_hash(std::string_view name) {
  return static_cast<std::uint32_t>(XXH3_64bits(name.data(), name.size()));
}

std::string to_hex(const Hash128& hash) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(hash.size() * 2);
  for (const unsigned char byte : hash) {
    text.push_back(kDigits[byte >> 4]);
    text.push_back(kDigits[byte & 15]);
  }
  return text;
}

struct ContentHasher::State {
  State() : xxh3(XXH3_createState()) {
    if (xxh3 == nullptr) throw std::bad_alloc();
    VARVE_CHECK(XXH3_128bits_reset(xxh3) == XXH_OK);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { XXH3_freeState(xxh3); }

  XXH3_state_t* xxh3;
};

ContentHasher::ContentHasher() : state_(std::make_unique<State>()) {}
ContentHasher::~ContentHasher() = default;

void ContentHasher::update(std::span<const std::byte> bytes) {
  VARVE_CHECK(XXH3_128bits_update(state_->xxh3, bytes.data(), bytes.size()) == XXH_OK);
}

void ContentHasher::update_zeros(std::uint64_t count_bytes) {
  static constexpr std::array<std::byte, 65536> kZeros{};
  while (count_bytes > 0) {
    const std::size_t step = static_cast<std::size_t>(std::min<std::uint64_t>(count_bytes, kZeros.size()));
    update(std::span(kZeros).first(step));
    count_bytes -= step;
  }
}

Hash128 ContentHasher::digest() const {
  return canonical(XXH3_128bits_digest(state_->xxh3));
}

}  // namespace varve::format
