#include "launcher/namespaces.h"

#include <gtest/gtest.h>
#include <sched.h>

namespace varve::launcher {
namespace {

TEST(NamespaceSet, AllHasASevenWordText) {
  EXPECT_EQ(NamespaceSet::all().text(), "mnt,pid,net,ipc,uts,user,cgroup");
}

TEST(NamespaceSet, TextIsReadBack) {
  const NamespaceSet set = *NamespaceSet::parse("net,,pid");
  EXPECT_EQ(set.text(), "pid,net");
  EXPECT_EQ(*NamespaceSet::parse(set.text()), set);
}

TEST(NamespaceSet, WithoutTakesAway) {
  const NamespaceSet own = NamespaceSet::all().without(*NamespaceSet::parse("net,user"));
  EXPECT_FALSE(own.contains(Namespace::kNet));
  EXPECT_FALSE(own.contains(Namespace::kUser));
  EXPECT_EQ(own.clone_flags(),
            std::uint64_t{CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP});
}

TEST(NamespaceSet, UnknownWordIsNamed) {
  const auto parsed = NamespaceSet::parse("mnt,mount");
  ASSERT_FALSE(parsed.ok());
  EXPECT_NE(parsed.error().message.find("mount"), std::string::npos);
}

}  // namespace
}  // namespace varve::launcher
