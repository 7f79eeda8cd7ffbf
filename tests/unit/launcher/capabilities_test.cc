#include "launcher/capabilities.h"

#include <gtest/gtest.h>

namespace varve::launcher {
namespace {

TEST(Capabilities, DefaultsAreThoseOfPodman) {
  EXPECT_EQ(CapabilitySet::defaults().mask(), 0x800405fbU);
}

TEST(Capabilities, NamesAreReadInEitherSpelling) {
  EXPECT_EQ(CapabilitySet::parse("CAP_NET_RAW")->mask(), std::uint64_t{1} << 13);
  EXPECT_EQ(CapabilitySet::parse("net_raw")->mask(), std::uint64_t{1} << 13);
}

TEST(Capabilities, UnknownNameIsNamed) {
  const auto parsed = CapabilitySet::parse("fly");
  ASSERT_FALSE(parsed.ok());
  EXPECT_NE(parsed.error().message.find("fly"), std::string::npos);
}

TEST(Capabilities, DropAllLeavesWhatIsAdded) {
  EXPECT_EQ(choose_capabilities({"net_raw"}, {"ALL"})->text(), "net_raw");
}

TEST(Capabilities, AddAllLessDropped) {
  const CapabilitySet chosen = *choose_capabilities({"all"}, {"sys_admin"});
  EXPECT_EQ(chosen, CapabilitySet::all().without(*CapabilitySet::parse("sys_admin")));
  EXPECT_FALSE(chosen.contains(*CapabilitySet::parse("sys_admin")));
}

TEST(Capabilities, AddAllAndDropAllContradict) {
  EXPECT_FALSE(choose_capabilities({"ALL"}, {"all"}).ok());
}

TEST(Capabilities, DroppedWinsOverAdded) {
  EXPECT_EQ(*choose_capabilities({"kill"}, {"kill"}),
            CapabilitySet::defaults().without(*CapabilitySet::parse("kill")));
}

TEST(Capabilities, TextNamesEachInOrder) {
  EXPECT_EQ(CapabilitySet(0b100001).text(), "chown,kill");
}

}  // namespace
}  // namespace varve::launcher
