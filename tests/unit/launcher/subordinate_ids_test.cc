#include "launcher/subordinate_ids.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launcher/idmap.h"
#include "scratch_directory.h"

namespace varve::launcher {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(SubordinateRanges, AreTheUsersByNameAndByNumber) {
  EXPECT_THAT(
      subordinate_ranges("eve:1:2\nbob:100000:65536\n1000:200000:10\n10000:5:5\nbobby:6:6\n", "bob", 1000),
      ElementsAre(SubordinateRange{100000, 65536}, SubordinateRange{200000, 10}));
}

TEST(SubordinateRanges, PassOverWhatIsNoLine) {
  EXPECT_THAT(subordinate_ranges(
                  "bob\nbob:1\nbob:x:2\nbob:1:\nbob:1:0\nbob:-1:5\nbob:4294967295:1\nbob:1:4294967295\n"
                  "bob:1:2:3\n# bob:7:7\n\nbob:9:1",
                  "bob", 1000),
              ElementsAre(SubordinateRange{9, 1}));
  EXPECT_THAT(subordinate_ranges(":5:5\n", "", 1000), IsEmpty());
}

TEST(SubordinateRanges, DoNotOverlap) {
  EXPECT_THAT(subordinate_ranges("bob:100:10\nbob:109:5\nbob:110:5\nbob:95:5\nbob:90:30\n", "bob", 1000),
              ElementsAre(SubordinateRange{100, 10}, SubordinateRange{110, 5}, SubordinateRange{95, 5}));
}

TEST(SubordinateRanges, AreNoMoreThanTheKernelTakes) {
  std::string text;
  for (int line = 0; line < 1000; ++line) text += "bob:" + std::to_string(100000 + line * 10) + ":5\n";
  EXPECT_EQ(subordinate_ranges(text, "bob", 1000).size(), 339U);
}

TEST(MapOver, PutsTheUserInItsPlaceAndLeavesNoGap) {
  const std::vector<SubordinateRange> ranges = {{1000, 10}, {2000, 10}};
  EXPECT_THAT(map_over(500, 0, ranges),
              ElementsAre(IdRange{0, 500, 1}, IdRange{1, 1000, 10}, IdRange{11, 2000, 10}));
  EXPECT_THAT(map_over(500, 4, ranges), ElementsAre(IdRange{0, 1000, 4}, IdRange{4, 500, 1},
                                                    IdRange{5, 1004, 6}, IdRange{11, 2000, 10}));
  EXPECT_THAT(map_over(500, 10, ranges),
              ElementsAre(IdRange{0, 1000, 10}, IdRange{10, 500, 1}, IdRange{11, 2000, 10}));
  EXPECT_THAT(map_over(500, 70, ranges),
              ElementsAre(IdRange{0, 1000, 10}, IdRange{10, 2000, 10}, IdRange{70, 500, 1}));
  EXPECT_THAT(map_over(500, 0, {}), ElementsAre(IdRange{0, 500, 1}));
}

TEST(MapOver, EndsBeforeTheLastId) {
  const std::vector<IdRange> map =
      map_over(500, 0, {{1000, 4294966000U}, {1, 900}, {901, 99}, {4294967000U, 290}});
  std::uint64_t total = 0;
  for (const IdRange& range : map) total += range.count;
  EXPECT_LE(total, 4294967295U);
  EXPECT_LE(std::uint64_t{map.back().inside} + map.back().count, 4294967295U);
}

class ChooseIds : public ::testing::Test {
 protected:
  ChooseIds() {
    for (const char* name : {"newuidmap", "newgidmap"}) {
      std::filesystem::permissions(scratch_.write_file(name, "#!"), std::filesystem::perms(0755));
    }
    sources_ = {.uid = 1000,
                .gid = 1001,
                .user_name = "bob",
                .subuid_file = scratch_.write_file("subuid", "bob:100000:1000\ncontainers:500000:100000\n"),
                .subgid_file = scratch_.write_file("subgid", "1000:300000:2000\ncontainers:500000:100\n"),
                .program_path = scratch_.path()};
  }
  IdChoice choice(const std::string& word) const {
    ResultOrFailure<IdChoice> chosen = choose_ids({word}, sources_);
    EXPECT_TRUE(chosen.ok()) << chosen.error().message;
    return chosen.ok() ? std::move(chosen).value() : IdChoice();
  }
  std::string refusal(const std::string& word) const {
    const ResultOrFailure<IdChoice> chosen = choose_ids({word}, sources_);
    return chosen.ok() ? "" : chosen.error().message;
  }

  ScratchDirectory scratch_;
  IdSources sources_;
};

TEST_F(ChooseIds, UserIsRootInsideAndGivesItsRanges) {
  for (const char* word : {"", "host"}) {
    const IdMap map = choice(word).map;
    EXPECT_THAT(map.uids, ElementsAre(IdRange{0, 1000, 1}, IdRange{1, 100000, 1000}));
    EXPECT_THAT(map.gids, ElementsAre(IdRange{0, 1001, 1}, IdRange{1, 300000, 2000}));
    EXPECT_FALSE(map.deny_setgroups);
    EXPECT_EQ(map.uid_helper, scratch_.path() + "/newuidmap");
    EXPECT_EQ(map.gid_helper, scratch_.path() + "/newgidmap");
  }
}

TEST_F(ChooseIds, WithoutRangesOrHelpersTheOwnIdIsAllAndItSaysWhy) {
  scratch_.write_file("subgid", "eve:300000:2000\n");
  EXPECT_THAT(choice("").map.uids, ElementsAre(IdRange{0, 1000, 1}));
  EXPECT_TRUE(choice("").map.deny_setgroups);
  EXPECT_THAT(choice("").note, HasSubstr("subgid: no line is for bob"));
  EXPECT_THAT(refusal("keep-id"), HasSubstr("no line is for bob"));
  scratch_.write_file("subgid", "bob:300000:2000\n");
  EXPECT_EQ(choice("").note, "");
  std::filesystem::remove(scratch_.path() + "/newgidmap");
  EXPECT_THAT(choice("").note, HasSubstr("newgidmap"));
  EXPECT_THAT(choice("").note, HasSubstr("uidmap"));
  EXPECT_EQ(choice("single").note, "");
}

TEST_F(ChooseIds, RangeWithTheUsersOwnIdIsNotMapped) {
  scratch_.write_file("subuid", "bob:999:3\nbob:5000:7\n");
  EXPECT_THAT(choice("").map.uids, ElementsAre(IdRange{0, 1000, 1}, IdRange{1, 5000, 7}));
}

TEST_F(ChooseIds, KeepIdKeepsTheUser) {
  const IdChoice chosen = choice("keep-id:uid=5,gid=2000");
  EXPECT_THAT(chosen.map.uids,
              ElementsAre(IdRange{0, 100000, 5}, IdRange{5, 1000, 1}, IdRange{6, 100005, 995}));
  EXPECT_THAT(chosen.map.gids, ElementsAre(IdRange{0, 300000, 2000}, IdRange{2000, 1001, 1}));
  EXPECT_EQ(chosen.process_user, "5:2000");
  EXPECT_EQ(choice("keep-id").process_user, "1000:1001");
  for (const char* word : {"keep-id:uid=", "keep-id:uid=-1", "keep-id:uid=4294967295", "keep-id:user=1"}) {
    EXPECT_THAT(refusal(word), HasSubstr("--userns")) << word;
  }
}

TEST_F(ChooseIds, RootKeepsItsIdsSharesOrTakesThoseOfContainers) {
  sources_.uid = 0;
  sources_.gid = 0;
  EXPECT_TRUE(choice("host").shares_host);
  EXPECT_FALSE(choice("auto").shares_host);
  EXPECT_THAT(choice("auto").map.uids, ElementsAre(IdRange{0, 500000, 65536}));
  EXPECT_THAT(choice("auto").map.gids, ElementsAre(IdRange{0, 500000, 100}));
  EXPECT_EQ(choice("auto").map.uid_helper, "");
  EXPECT_THAT(refusal("keep-id"), HasSubstr("root has host and auto"));
  scratch_.write_file("subuid", "bob:100000:1000\n");
  EXPECT_THAT(refusal("auto"), HasSubstr("no line is for containers"));
}

TEST_F(ChooseIds, WordsThatAreNoneAreRefused) {
  for (const char* word : {"auto", "nomap", "container:x", "keepid"}) {
    EXPECT_THAT(refusal(word), HasSubstr("a user has host, keep-id and single")) << word;
  }
}

}  // namespace
}  // namespace varve::launcher
