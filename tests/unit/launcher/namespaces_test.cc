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
  const auto chosen = choose_namespaces({.list = "net", .pid = "host", .ipc = "shareable", .uts = "private"});
  ASSERT_TRUE(chosen.ok()) << chosen.error().message;
  EXPECT_EQ(chosen->shared.text(), "pid,net");
  EXPECT_EQ(choose_namespaces({})->shared.text(), "");
  EXPECT_EQ(choose_namespaces({.ipc = "host", .uts = "host", .cgroup = "host"})->shared.text(),
            "ipc,uts,cgroup");
}

std::string complaint(const ResultOrFailure<NamespaceChoice>& chosen) {
  return chosen.ok() ? "" : chosen.error().message;
}

TEST(NamespaceOptions, OtherWordsAreRefused) {
  EXPECT_EQ(complaint(choose_namespaces({.pid = "keep-id"})),
            "reading --pid: keep-id: varve knows host, container:NAME and private (the default)");
  EXPECT_NE(complaint(choose_namespaces({.pid = "shareable"})), "");
  EXPECT_NE(complaint(choose_namespaces({.uts = "hosts"})), "");
  EXPECT_EQ(complaint(choose_namespaces({.list = "pid", .pid = "private"})),
            "reading --pid: private: --share names this namespace");
}

TEST(NamespaceOptions, NamespacesOfOneContainerAreJoined) {
  const auto chosen = choose_namespaces({.pid = "container:web", .ipc = "container:web", .uts = "private"},
                                        "container:web", "container:web");
  ASSERT_TRUE(chosen.ok()) << chosen.error().message;
  EXPECT_EQ(chosen->joined.container, "web");
  EXPECT_EQ(chosen->joined.namespaces.text(), "pid,net,ipc,user");
  EXPECT_EQ(chosen->shared.text(), "");
  EXPECT_EQ(choose_namespaces({}, "bridge", "keep-id")->joined.container, "");
}

TEST(NamespaceOptions, NamespacesOfTwoContainersAreRefused) {
  EXPECT_EQ(
      complaint(choose_namespaces({.pid = "container:web"}, "container:other")),
      "reading --network: container:other: another option names web (all namespaces that are joined must be "
      "of one container)");
}

TEST(NamespaceOptions, WhatCannotBeJoinedIsRefused) {
  EXPECT_EQ(complaint(choose_namespaces({.pid = "container:"})),
            "reading --pid: container:: it names no container (write container:NAME)");
  EXPECT_EQ(complaint(choose_namespaces({.cgroup = "container:web"})),
            "reading --cgroupns: container:web: varve knows host and private (the default)");
  EXPECT_EQ(complaint(choose_namespaces({.list = "net"}, "container:web")),
            "reading --network: container:web: --share names this namespace (leave one of the two out)");
  EXPECT_NE(complaint(choose_namespaces({.uts = "container:web", .cgroup = "private"})), "");
  EXPECT_EQ(complaint(choose_namespaces({.uts = "container:web", .cgroup = "host"})), "");
}

TEST(NamespaceSet, WithAndCommon) {
  const NamespaceSet some = *NamespaceSet::parse("pid,net");
  const NamespaceSet others = *NamespaceSet::parse("net,user");
  EXPECT_EQ(some.with(others).text(), "pid,net,user");
  EXPECT_EQ(some.common(others).text(), "net");
  EXPECT_TRUE(some.without(some).empty());
  EXPECT_FALSE(some.empty());
}

TEST(NamespaceSet, UnknownWordIsNamed) {
  const auto parsed = NamespaceSet::parse("mnt,mount");
  ASSERT_FALSE(parsed.ok());
  EXPECT_NE(parsed.error().message.find("mount"), std::string::npos);
}

}  // namespace
}  // namespace varve::launcher
