// Plans of containers that live in namespaces of another one; that one is this test's own process, as a record tells of it.

#include "launcher/join_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <optional>

#include "launcher/outside/process_record.h"
#include "launcher/plan.h"
#include "tests/unit/launcher/plan_fixture.h"

namespace varve::launcher {
namespace {

using ::testing::HasSubstr;

class JoinPlanTest : public PlanFixture {
 protected:
  JoinPlanTest() {
    state_.name = "web";
    state_.id = image::new_container_id();
    state_.namespaces = "mnt,pid,net,ipc,uts,user,cgroup";
    state_.network = {.mode = "bridge",
                      .address = "10.201.0.80",
                      .gateway = "10.201.0.1",
                      .resolver = "nameserver 192.0.2.53\n",
                      .hosts = {"db:10.201.0.9", "outside:host-gateway"}};
  }
  // The record of a container whose processes are this one.
  void write_running() {
    const ProcessIdentity self = *identify_process(::getpid());
    ProcessRecord record;
    record.process.environment.set("HOSTNAME", "box");
    const image::ContainerStore store(store_);
    auto lock = store.create(state_, {.upper = false, .process = text_of(record)});
    ASSERT_TRUE(lock.ok()) << lock.error().message;
    lock_ = std::move(lock).value();
    state_.status = image::ContainerStatus::kRunning;
    state_.pid = state_.command_pid = self.pid;
    state_.pid_started_ticks = state_.command_started_ticks = self.started_ticks;
    ASSERT_TRUE(store.write(state_).ok());
  }
  RunOptions joining(const char* namespaces) const {
    RunOptions options;
    options.image = root_;
    options.store = store_;
    options.arguments = {"true"};
    options.name = "second";
    options.joined = {"web", *NamespaceSet::parse(namespaces)};
    if (options.joined.namespaces.contains(Namespace::kNet)) options.network.network = "container:web";
    return options;
  }

  image::ContainerState state_;
  UniqueFd lock_;
};

TEST_F(JoinPlanTest, UserAndCgroupNamespacesComeWithTheOthers) {
  write_running();
  const auto plan = plan_of(joining("pid"));
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_EQ(plan->joined.container, "web");
  EXPECT_EQ(plan->joined.namespaces.text(), "pid,user,cgroup");
  EXPECT_EQ(plan->own_namespaces.text(), "mnt,net,ipc,uts");
  EXPECT_EQ(plan->namespaces(), NamespaceSet::all());
  EXPECT_EQ(plan->joined.process.pid, ::getpid());
  EXPECT_THAT(to_text(*plan), HasSubstr("joined:       pid,user,cgroup of web\n"));
}

TEST_F(JoinPlanTest, IdsAreThoseOfTheContainer) {
  write_running();
  const auto plan = plan_of(joining("ipc"));
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  const auto expected = id_map_of(::getpid());
  ASSERT_TRUE(expected.ok()) << expected.error().message;
  EXPECT_EQ(plan->id_map.uids, expected->uids);
  EXPECT_EQ(plan->id_map.gids, expected->gids);
  EXPECT_FALSE(plan->id_map.uids.empty());
  EXPECT_EQ(plan->id_map.uid_helper, "");
}

TEST_F(JoinPlanTest, WhatTheContainerSharesWithTheHostIsShared) {
  state_.namespaces = "mnt,net,ipc,uts";
  write_running();
  const auto plan = plan_of(joining("pid,ipc"));
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_EQ(plan->joined.namespaces.text(), "ipc");
  EXPECT_EQ(plan->own_namespaces.text(), "mnt,net,uts");
  EXPECT_TRUE(plan->id_map.uids.empty());
  host_.effective_uid = 1000;
  EXPECT_THAT(complaint(joining("pid")), HasSubstr("ordinary user"));
}

TEST_F(JoinPlanTest, HostNameIsTheContainersWithItsUtsNamespace) {
  write_running();
  RunOptions options = joining("uts");
  const auto plan = plan_of(options);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_EQ(plan->hostname, "box");
  EXPECT_EQ(plan->process.environment.get("HOSTNAME"), "box");
  options.hostname = "mine";
  EXPECT_EQ(complaint(options),
            "choosing the host name: mine: it is that of the container web, whose uts namespace is joined "
            "(leave one "
            "of the two out)");
  options = joining("pid");
  options.hostname = "mine";
  EXPECT_EQ(plan_of(options)->hostname, "mine");
}

TEST_F(JoinPlanTest, NetworkIsTheContainersAsRecorded) {
  write_running();
  RunOptions options = joining("net");
  options.network.added_hosts = {"more:host-gateway"};
  const auto plan = plan_of(options);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_EQ(mode_text(plan->network), "container:web");
  EXPECT_FALSE(plan->network.is_connected());
  EXPECT_EQ(plan->network.resolv_conf, "nameserver 192.0.2.53\n");
  std::string hosts;
  for (const HostEntry& entry : plan->network.added_hosts) hosts += entry.name + "=" + entry.address + " ";
  EXPECT_EQ(hosts, "more= db=10.201.0.9 outside= box=10.201.0.80 ");
  options.network.dns = {"192.0.2.1"};
  EXPECT_EQ(plan_of(options)->network.resolv_conf, "nameserver 192.0.2.1\n");
}

TEST_F(JoinPlanTest, WithoutAWayOutThereIsNoGateway) {
  state_.network = {.mode = "none"};
  write_running();
  RunOptions options = joining("net");
  const auto plan = plan_of(options);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_FALSE(plan->network.resolv_conf.has_value());
  options.network.added_hosts = {"more:host-gateway"};
  EXPECT_THAT(complaint(options), HasSubstr("no way to the host"));
}

TEST_F(JoinPlanTest, WhatBelongsToAJoinedNamespaceCannotBeSet) {
  write_running();
  RunOptions options = joining("net");
  options.network.published = {"8080:80"};
  EXPECT_EQ(complaint(options),
            "publishing ports: -p: the network is that of the container web (publish them when that one is "
            "started)");
  options = joining("net");
  options.network.address = "10.201.0.7";
  EXPECT_THAT(complaint(options), HasSubstr("--ip"));
  options = joining("net,ipc");
  options.settings.sysctls = {"net.ipv4.ip_forward=1"};
  EXPECT_THAT(complaint(options),
              HasSubstr("or with the container it joins (it needs an own network namespace)"));
  options.settings.sysctls = {"kernel.msgmax=1"};
  EXPECT_THAT(complaint(options), HasSubstr("own ipc namespace"));
  options = joining("pid");
  options.settings.sysctls = {"kernel.msgmax=1"};
  EXPECT_EQ(complaint(options), "");
}

TEST_F(JoinPlanTest, ContradictingUserNamespacesAreRefused) {
  write_running();
  RunOptions options = joining("pid");
  for (const char* word : {"auto", "keep-id", "single"}) {
    options.ids.user_namespace = word;
    EXPECT_THAT(complaint(options), HasSubstr("the ids are those of the container web")) << word;
  }
  options.ids.user_namespace = "container:web";
  EXPECT_EQ(complaint(options), "");
  options.ids.user_namespace = "host";
  EXPECT_THAT(complaint(options), HasSubstr("the host's is asked for"));
  options.ids.user_namespace.clear();
  options.shared = *NamespaceSet::parse("user");
  EXPECT_THAT(complaint(options), HasSubstr("the host's is asked for"));
  options.shared = *NamespaceSet::parse("cgroup");
  EXPECT_EQ(plan_of(options)->namespaces().text(), "mnt,pid,net,ipc,uts,user");
}

TEST_F(JoinPlanTest, OnlyAContainerThatRunsIsJoined) {
  EXPECT_THAT(complaint(joining("pid")), HasSubstr("web"));
  write_running();
  // The same number, but a process that began at another time.
  const image::ContainerStore store(store_);
  ++state_.command_started_ticks;
  ASSERT_TRUE(store.write(state_).ok());
  EXPECT_THAT(complaint(joining("pid")), HasSubstr("its own command has ended"));
  --state_.command_started_ticks;
  ASSERT_TRUE(store.write(state_).ok());
  EXPECT_EQ(complaint(joining("pid")), "");
  lock_.reset();
  EXPECT_THAT(complaint(joining("pid")), HasSubstr("it does not run"));
}

}  // namespace
}  // namespace varve::launcher
