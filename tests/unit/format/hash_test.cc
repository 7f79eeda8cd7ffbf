#include "fs/format/hash.h"

#include <gtest/gtest.h>

#include <string>

namespace varve::format {
namespace {

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

// The values that the xxHash library publishes for empty input: were they to change, no layer written before
// could be read.
TEST(Hash, IsXxh3WithSeedZero) {
  EXPECT_EQ(xxh3_64({}), 0x2d06800538d394c2ULL);
  EXPECT_EQ(to_hex(xxh3_128({})), "99aa06d3014798d86001c324468d497f");
}

TEST(Hash, OfANameIsTheLowHalf) {
  EXPECT_EQ(name_hash("name"), static_cast<std::uint32_t>(xxh3_64(bytes("name"))));
}

TEST(ContentHasher, HashesPiecesLikeTheWhole) {
  const std::string whole = "one piece" + std::string(200'000, '\0') + "another";
  ContentHasher hasher;
  hasher.update(bytes("one piece"));
  hasher.update_zeros(200'000);
  hasher.update(bytes("another"));
  EXPECT_EQ(hasher.digest(), xxh3_128(bytes(whole)));
}

}  // namespace
}  // namespace varve::format
