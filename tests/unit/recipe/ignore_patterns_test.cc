#include "imagetool/recipe/ignore_patterns.h"

#include <gtest/gtest.h>

#include <chrono>

#include "tests/unit/image/scratch_directory.h"

namespace varve::recipe {
namespace {

bool ignores(std::string_view text, std::string_view path) {
  return image::must(IgnorePatterns::parse(text)).ignores(path);
}

TEST(PathPattern, WildcardsStayWithinAComponent) {
  EXPECT_TRUE(PathPattern("*.txt").matches("a.txt"));
  EXPECT_TRUE(PathPattern("*").matches(".hidden"));
  EXPECT_FALSE(PathPattern("*.txt").matches("d/a.txt"));
  EXPECT_TRUE(PathPattern("a?c").matches("abc"));
  EXPECT_FALSE(PathPattern("a?c").matches("a/c"));
  EXPECT_TRUE(PathPattern("[a-c]x[^0-9]").matches("bxy"));
  EXPECT_FALSE(PathPattern("[a-c]x[^0-9]").matches("bx1"));
  EXPECT_FALSE(PathPattern("a[^b]c").matches("a/c"));
  EXPECT_TRUE(PathPattern("a\\*b").matches("a*b"));
  EXPECT_FALSE(PathPattern("a\\*b").matches("axb"));
  EXPECT_TRUE(PathPattern("a[b").matches("a[b"));
}

TEST(PathPattern, TwoStarsStandForAnyDirectories) {
  for (const char* path : {"a.log", "d/a.log", "d/e/a.log"})
    EXPECT_TRUE(PathPattern("**/*.log").matches(path)) << path;
  EXPECT_FALSE(PathPattern("**/a").matches("ba"));
  EXPECT_TRUE(PathPattern("d/**").matches("d/e/f"));
  EXPECT_FALSE(PathPattern("d/**").matches("e/f"));
  EXPECT_TRUE(PathPattern("d/**/f").matches("d/f"));
  EXPECT_TRUE(PathPattern("d/**/f").matches("d/x/y/f"));
  EXPECT_TRUE(PathPattern("**/**/f").matches("f"));
  EXPECT_TRUE(PathPattern("**").matches("anything/at/all"));
}

TEST(IgnorePatterns, WhatLiesInAnIgnoredDirectoryIsIgnored) {
  EXPECT_TRUE(ignores("node_modules\n", "node_modules/a/b"));
  EXPECT_FALSE(ignores("node_modules\n", "x/node_modules"));
  EXPECT_TRUE(ignores("/x/../build/\n", "build/a"));
  EXPECT_FALSE(ignores("# build\n\n", "build"));
}

TEST(IgnorePatterns, TheLastLineThatFitsHolds) {
  const std::string_view text = "*.md\n!README*.md\nREADME-secret.md\n";
  EXPECT_TRUE(ignores(text, "a.md"));
  EXPECT_FALSE(ignores(text, "README.md"));
  EXPECT_TRUE(ignores(text, "README-secret.md"));
  EXPECT_FALSE(ignores("*\n!src/keep\n", "src/keep/a"));
  EXPECT_TRUE(ignores("*\n!src/keep\n", "src/other"));
}

TEST(IgnorePatterns, KnowsWhereSomethingIsTakenBack) {
  const auto patterns = image::must(IgnorePatterns::parse("*\n!src/keep\n"));
  EXPECT_TRUE(patterns.may_take_below("src"));
  EXPECT_TRUE(patterns.may_take_below("src/keep"));
  EXPECT_FALSE(patterns.may_take_below("other"));
  EXPECT_FALSE(patterns.may_take_below("sr"));
  EXPECT_TRUE(image::must(IgnorePatterns::parse("!**/x\n")).may_take_below("any"));
  EXPECT_FALSE(image::must(IgnorePatterns::parse("a\n")).may_take_below("a"));
}

TEST(PathPattern, TakesNoLongForWhateverPattern) {
  std::string pattern;
  for (int i = 0; i < 200; ++i) pattern += "**a*";
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE(PathPattern(pattern + "b").matches(std::string(4000, 'a')));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

TEST(IgnorePatterns, AreBounded) {
  EXPECT_FALSE(IgnorePatterns::parse(std::string(5000, 'a')).ok());
  std::string many;
  for (int i = 0; i < 10001; ++i) many += "a\n";
  EXPECT_FALSE(IgnorePatterns::parse(many).ok());
}

}  // namespace
}  // namespace varve::recipe
