#include "fs/fuse/id_map.h"

#include <gmock/gmock.h>

#include "fs/format/posix_acl.h"

namespace varve::fuse {
namespace {

IdMap map_of(std::string_view text) {
  auto parsed = IdMap::parse(text);
  EXPECT_TRUE(parsed.ok()) << text;
  return parsed.ok() ? *parsed : IdMap();
}

TEST(IdMap, WithoutRangesChangesNothing) {
  const IdMap map;
  EXPECT_TRUE(map.is_identity());
  EXPECT_EQ(map.shown(4294967294U), 4294967294U);
  EXPECT_EQ(map.stored(7), 7u);
}

TEST(IdMap, MapsEachRangeAndBack) {
  const IdMap map = map_of("0:1000:1:1:100000:65536");
  EXPECT_EQ(map.shown(0), 1000u);
  EXPECT_EQ(map.shown(1), 100000u);
  EXPECT_EQ(map.shown(65536), 165535u);
  for (const std::uint32_t id : {0u, 1u, 500u, 65536u}) EXPECT_EQ(map.stored(map.shown(id)), id);
}

TEST(IdMap, IdsOutsideBecomeTheOverflowId) {
  const IdMap map = map_of("10:100:5");
  for (const std::uint32_t id : {0u, 9u, 15u, 4294967294u})
    EXPECT_EQ(map.shown(id), IdMap::kOverflowId) << id;
  for (const std::uint32_t id : {0u, 99u, 105u, 12u}) EXPECT_EQ(map.stored(id), IdMap::kOverflowId) << id;
}

TEST(IdMap, ReachesTheLastId) {
  const IdMap map = map_of("0:4294967294:1");
  EXPECT_EQ(map.shown(0), 4294967294U);
  EXPECT_EQ(map.stored(4294967294U), 0u);
  EXPECT_EQ(map_of("0:0:4294967295").shown(4294967294U), 4294967294U);
}

TEST(IdMap, RefusesWhatMakesNoSense) {
  for (const char* bad : {"", ":", "0", "0:1", "0:1:", "0:1:2:", "0:1:2:3", "0:1:0", "0:1:x", "-1:0:1",
                          "0:1:2,3:4:5", "0:4294967295:1", "4294967290:0:10", "0:0:4294967296",
                          "0:100:10:9:200:1", "0:100:10:10:109:1", " 0:1:1", "0::1"}) {
    EXPECT_FALSE(IdMap::parse(bad).ok()) << bad;
  }
}

TEST(IdMaps, MapTheEntriesOfAccessLists) {
  using Tag = format::AclEntry::Tag;
  const IdMaps maps{map_of("0:100000:1000"), map_of("0:200000:1000")};
  format::Acl acl = {{Tag::kOwner, 7, 0}, {Tag::kUser, 6, 5}, {Tag::kOwningGroup, 5, 0},
                     {Tag::kGroup, 4, 5}, {Tag::kMask, 7, 0}, {Tag::kOther, 0, 0}};
  const std::string stored = format::format_acl(acl);
  acl[1].id = 100005;
  acl[3].id = 200005;
  EXPECT_EQ(maps.shown_acl(stored), format::format_acl(acl));
  EXPECT_EQ(maps.stored_acl(format::format_acl(acl)), stored);
  EXPECT_EQ(maps.shown_acl("no list"), "no list");
}

}  // namespace
}  // namespace varve::fuse
