// The pure parts of the upper: bitmap, escaping, state file, boot id.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "fs/upper/cow/block_bitmap.h"
#include "fs/upper/state_file.h"
#include "fs/upper/work_directory.h"
#include "fs/upper/xattr_escape.h"

namespace varve::upper {
namespace {

TEST(BlockBitmap, AgreesWithAPlainVector) {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    const std::uint64_t size = std::uniform_int_distribution<std::uint64_t>(1, 200)(random);
    BlockBitmap bitmap(size);
    std::vector<bool> plain(size);
    for (int change = 0; change < 6; ++change) {
      std::uint64_t first = std::uniform_int_distribution<std::uint64_t>(0, size)(random);
      std::uint64_t end = std::uniform_int_distribution<std::uint64_t>(0, size)(random);
      if (first > end) std::swap(first, end);
      const bool value = change % 3 != 2;
      value ? bitmap.set_range(first, end) : bitmap.clear_range(first, end);
      std::fill(plain.begin() + static_cast<long>(first), plain.begin() + static_cast<long>(end), value);
    }
    const auto begin = plain.begin();
    for (std::uint64_t i = 0; i < size; ++i) {
      ASSERT_EQ(bitmap.test(i), plain[i]);
      ASSERT_EQ(bitmap.next_set(i), static_cast<std::uint64_t>(
                                        std::find(begin + static_cast<long>(i), plain.end(), true) - begin));
      ASSERT_EQ(
          bitmap.next_clear(i),
          static_cast<std::uint64_t>(std::find(begin + static_cast<long>(i), plain.end(), false) - begin));
      ASSERT_EQ(bitmap.count_clear(i, size),
                static_cast<std::uint64_t>(std::count(begin + static_cast<long>(i), plain.end(), false)));
    }
  }
}

TEST(BlockBitmap, DropsBitsPastItsEnd) {
  BlockBitmap bitmap(10);
  bitmap.merge_word(0, ~std::uint64_t{0});
  bitmap.merge_word(1, ~std::uint64_t{0});
  EXPECT_EQ(bitmap.word(0), 0x3ffu);
  EXPECT_EQ(bitmap.word(1), 0u);
  EXPECT_TRUE(bitmap.all_set(0, 10));
}

TEST(XattrEscape, ReturnsWhatItWasGiven) {
  for (const char* name :
       {"user.a", "trusted.varve.base", "user.varve.escaped.x", "trusted.overlay.opaque",
        "user.overlay.redirect", "security.capability", "trusted.overlay", "user.varveish"}) {
    EXPECT_EQ(shown_xattr_name(stored_xattr_name(name)), name);
  }
}

TEST(XattrEscape, HidesMarks) {
  for (const char* name : {"user.varve.base", "trusted.varve.origin", "trusted.overlay.opaque"}) {
    EXPECT_EQ(shown_xattr_name(name), std::nullopt) << name;
    EXPECT_NE(stored_xattr_name(name), name);
  }
}

TEST(StateFile, ReadsWhatItWrites) {
  const UpperState state{.upper_id = "00ff",
                         .boot_id = "b",
                         .marks = MarkStore::Namespace::kUser,
                         .overrides = OverrideUse::kWhereNeeded,
                         .clean = true,
                         .volatile_upper = true,
                         .base_stack = {"file a b", "directory \n\\n", ""}};
  const auto read = parse_state(format_state(state));
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->upper_id, "00ff");
  EXPECT_EQ(read->boot_id, "b");
  EXPECT_EQ(read->marks, MarkStore::Namespace::kUser);
  EXPECT_EQ(read->overrides, OverrideUse::kWhereNeeded);
  EXPECT_TRUE(read->clean);
  EXPECT_TRUE(read->volatile_upper);
  EXPECT_EQ(read->base_stack, state.base_stack);
}

TEST(StateFile, RefusesWhatItDoesNotKnow) {
  for (const char* text :
       {"", "varve-upper 1\n", "varve-upper 2\nupper a\n", "varve-upper 1\nupper a\nwhat b\n",
        "varve-upper 1\nupper a", "varve-upper 1\nupper a\nstate perhaps\n",
        "varve-upper 1\nupper a\noverrides perhaps\n"}) {
    EXPECT_FALSE(parse_state(text).ok()) << text;
  }
}

TEST(BootId, SkipsDashesAndRefusesTheRest) {
  const auto id = parse_boot_id("3ed71b13-2a90-4c40-89c1-b0e2f6ad1813");
  ASSERT_TRUE(id.ok());
  EXPECT_EQ((*id)[0], 0x3e);
  EXPECT_EQ((*id)[15], 0x13);
  for (const char* text :
       {"", "3e", "3ed71b13-2a90-4c40-89c1-b0e2f6ad181g", "3ed71b13-2a90-4c40-89c1-b0e2f6ad18131"}) {
    EXPECT_FALSE(parse_boot_id(text).ok()) << text;
  }
}

}  // namespace
}  // namespace varve::upper
