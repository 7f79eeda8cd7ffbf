#include "launcher/inside/user_lookup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace varve::launcher {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

UserFiles some_files() {
  return {.passwd =
              "root:x:0:0:root:/root:/bin/sh\nbroken "
              "line\nbob:x:1000:100::/home/bob:/bin/sh\n7:x:2000:200::/seven:\n",
          .group = "root:x:0:\nusers:x:100:\nwheel:x:10:alice,bob\naudio:x:29:bob\n"};
}

TEST(UserLookup, NothingMeansRoot) {
  const auto user = find_user("", some_files());
  ASSERT_TRUE(user.ok());
  EXPECT_EQ(user->uid, 0U);
  EXPECT_EQ(user->home, "/root");
}

TEST(UserLookup, NameBringsGroupsAndHome) {
  const auto user = find_user("bob", some_files());
  ASSERT_TRUE(user.ok());
  EXPECT_EQ(user->uid, 1000U);
  EXPECT_EQ(user->gid, 100U);
  EXPECT_EQ(user->home, "/home/bob");
  EXPECT_THAT(user->groups, ElementsAre(10, 29));
}

TEST(UserLookup, NumberFindsItsEntry) {
  EXPECT_EQ(find_user("1000", some_files())->gid, 100U);
}

TEST(UserLookup, NumberNeedsNoEntry) {
  const auto user = find_user("4000", some_files());
  ASSERT_TRUE(user.ok());
  EXPECT_EQ(user->uid, 4000U);
  EXPECT_EQ(user->gid, 0U);
  EXPECT_EQ(user->home, "/");
}

TEST(UserLookup, NameGoesBeforeNumber) {
  EXPECT_EQ(find_user("7", some_files())->uid, 2000U);
}

TEST(UserLookup, GivenGroupTakesThePlaceOfAllOthers) {
  const auto user = find_user("bob:audio", some_files());
  ASSERT_TRUE(user.ok());
  EXPECT_EQ(user->gid, 29U);
  EXPECT_THAT(user->groups, IsEmpty());
  EXPECT_EQ(find_user("bob:77", some_files())->gid, 77U);
}

TEST(UserLookup, UnknownNamesAreRefused) {
  EXPECT_FALSE(find_user("eve", some_files()).ok());
  EXPECT_FALSE(find_user("bob:eves", some_files()).ok());
  EXPECT_FALSE(find_user("4294967295", some_files()).ok());
  EXPECT_FALSE(find_user("-1", some_files()).ok());
}

TEST(UserLookup, ImageWithoutFilesHasRoot) {
  EXPECT_EQ(find_user("", {})->home, "/root");
}

}  // namespace
}  // namespace varve::launcher
