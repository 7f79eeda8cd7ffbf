#include "launcher/namespaces.h"

#include <gtest/gtest.h>
#include <sched.h>

#include "launcher/options/namespace_options.h"

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

TEST(NamespaceSet, TimeIsKnownAndNotOwnUnlessAsked) {
  NamespaceSet set = *NamespaceSet::parse("time");
  EXPECT_EQ(set.clone_flags(), std::uint64_t{CLONE_NEWTIME});
  EXPECT_EQ(set.text(), "time");
  EXPECT_FALSE(NamespaceSet::all().contains(Namespace::kTime));
  EXPECT_EQ(NamespaceSet::all().without(set), NamespaceSet::all());
}

TEST(NamespaceOptions, PodmansWordsMeanShare) {
  const auto shared = choose_shared({.list = "net", .pid = "host", .ipc = "shareable", .uts = "private"});
  ASSERT_TRUE(shared.ok()) << shared.error().message;
  EXPECT_EQ(shared->text(), "pid,net");
  EXPECT_EQ(choose_shared({})->text(), "");
  EXPECT_EQ(choose_shared({.ipc = "host", .uts = "host", .cgroup = "host"})->text(), "ipc,uts,cgroup");
}

TEST(NamespaceOptions, OtherWordsAreRefused) {
  const auto complaint = [](const NamespaceOptions& options) {
    const auto shared = choose_shared(options);
    return shared.ok() ? "" : shared.error().message;
  };
  EXPECT_EQ(complaint({.pid = "keep-id"}),
            "reading --pid: keep-id: varve knows host and private (the default)");
  EXPECT_NE(complaint({.pid = "shareable"}), "");
  EXPECT_NE(complaint({.uts = "hosts"}), "");
  EXPECT_EQ(complaint({.list = "pid", .pid = "private"}),
            "reading --pid: private: --share names this namespace");
}

TEST(NamespaceSet, UnknownWordIsNamed) {
  const auto parsed = NamespaceSet::parse("mnt,mount");
  ASSERT_FALSE(parsed.ok());
  EXPECT_NE(parsed.error().message.find("mount"), std::string::npos);
}

}  // namespace
}  // namespace varve::launcher
