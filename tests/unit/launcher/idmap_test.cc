#include "launcher/idmap.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace varve::launcher {
namespace {

using ::testing::ElementsAre;

TEST(IdMap, IdentityCoversTheInsideIds) {
  EXPECT_THAT(*identity_over("         0          0 4294967295\n"), ElementsAre(IdRange{0, 0, 4294967295U}));
  EXPECT_THAT(*identity_over("0 1000 1\n1 100000 65536\n"),
              ElementsAre(IdRange{0, 0, 1}, IdRange{1, 1, 65536}));
}

TEST(IdMap, TextThatIsNoMapIsRefused) {
  EXPECT_FALSE(identity_over("").ok());
  EXPECT_FALSE(identity_over("0 0 many\n").ok());
  EXPECT_FALSE(identity_over("0 0 4294967296\n").ok());
}

TEST(IdMap, TellsWhichIdsAreMapped) {
  const IdMap map{.uids = {{0, 1000, 1}}, .gids = {{0, 0, 4294967295U}}};
  EXPECT_TRUE(map.maps_uid(0));
  EXPECT_FALSE(map.maps_uid(1));
  EXPECT_TRUE(map.maps_gid(4294967294U));
  EXPECT_FALSE(map.maps_gid(4294967295U));
}

TEST(IdMap, OrdinaryUserGivesItsOneId) {
  const auto map = id_map_of_caller();
  ASSERT_TRUE(map.ok()) << map.error().message;
  if (::geteuid() == 0) {
    EXPECT_FALSE(map->deny_setgroups);
    EXPECT_TRUE(map->maps_uid(0));
  } else {
    EXPECT_TRUE(map->deny_setgroups);
    EXPECT_THAT(map->uids, ElementsAre(IdRange{0, ::geteuid(), 1}));
  }
}

TEST(IdMap, TextShowsRanges) {
  EXPECT_EQ(to_text({{0, 1000, 1}, {1, 5, 2}}), "0 1000 1, 1 5 2");
}

}  // namespace
}  // namespace varve::launcher
