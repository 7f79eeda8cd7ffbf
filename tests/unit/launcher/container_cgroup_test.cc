#include "launcher/cgroup/container_cgroup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/launcher/fake_cgroups.h"

namespace varve::launcher {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

LimitPlan plan_for(const LimitOptions& options, const FakeCgroups& trees) {
  const CgroupHost host = trees.host();
  auto plan = plan_limits(options, {.host = host, .is_root = true, .id = "c0ffee", .filter_devices = true});
  EXPECT_TRUE(plan.ok()) << plan.error().message;
  LimitPlan made = plan.ok() ? *plan : LimitPlan();
  // A BPF program cannot be attached to a plain directory.
  if (made.device_filter == LimitPlan::DeviceFilter::kProgram)
    made.device_filter = LimitPlan::DeviceFilter::kNone;
  return made;
}

TEST(ContainerCgroup, Version1WritesIntoEachTree) {
  FakeCgroups trees;
  for (const char* one : {"memory", "cpuset", "devices"}) trees.add_v1(one, one);
  trees.scratch().write_file("cpuset/cpuset.cpus", "0-7\n");
  trees.scratch().write_file("cpuset/cpuset.mems", "0\n");
  const auto cgroup =
      ContainerCgroup::create(plan_for({.memory = "50m", .cpuset_cpus = "2"}, trees), O_CREAT);
  ASSERT_TRUE(cgroup.ok()) << cgroup.error().message;
  EXPECT_EQ(trees.text("memory/varve/c0ffee/memory.limit_in_bytes"), "52428800");
  EXPECT_EQ(trees.text("cpuset/varve/c0ffee/cpuset.cpus"), "2-7")
      << "2, written over what was inherited, 0-7";
  EXPECT_EQ(trees.text("cpuset/varve/c0ffee/cpuset.mems"), "0");
  EXPECT_EQ(trees.text("cpuset/varve/cpuset.cpus"), "0-7");
  EXPECT_EQ(trees.text("devices/varve/c0ffee/devices.deny"), "a");
  EXPECT_THAT(trees.text("devices/varve/c0ffee/devices.allow"),
              AllOf(HasSubstr("c 1:3 rwm"), HasSubstr("c 136:* rwm")));
  ASSERT_TRUE(cgroup->enter().ok());
  EXPECT_EQ(trees.text("memory/varve/c0ffee/tasks"), "0");
  EXPECT_EQ(cgroup->clone_fd(), -1);
}

TEST(ContainerCgroup, Version2EnablesControllersOnTheWay) {
  FakeCgroups trees;
  trees.add_v2("unified", "memory pids io");
  // What a kernel would have made with the group.
  trees.add_v2_group("unified/varve", "memory pids io", "", "pids");
  const auto cgroup = ContainerCgroup::create(plan_for({.memory = "50m"}, trees), O_CREAT);
  ASSERT_TRUE(cgroup.ok()) << cgroup.error().message;
  EXPECT_EQ(trees.text("unified/cgroup.subtree_control"), "+memory +pids +io");
  EXPECT_THAT(trees.text("unified/varve/cgroup.subtree_control"), HasSubstr("+memory +io"));
  EXPECT_EQ(trees.text("unified/varve/c0ffee/memory.max"), "52428800");
  EXPECT_EQ(trees.text("unified/varve/c0ffee/pids.max"), "2048");
  EXPECT_GE(cgroup->clone_fd(), 0);
}

TEST(ContainerCgroup, WhatCannotBeAppliedNamesTheOption) {
  FakeCgroups trees;
  trees.add_v1("memory", "memory");
  const auto cgroup = ContainerCgroup::create(plan_for({.memory = "50m"}, trees));
  ASSERT_FALSE(cgroup.ok());
  EXPECT_THAT(cgroup.error().message, AllOf(HasSubstr("--memory"), HasSubstr("memory.limit_in_bytes")));
  EXPECT_NE(::access(trees.path("memory/varve/c0ffee").c_str(), F_OK), 0) << "nothing is left";
}

TEST(ContainerCgroup, SwapThatNobodyAskedForMayBeMissing) {
  FakeCgroups trees;
  trees.add_v1("memory", "memory");
  LimitPlan plan = plan_for({.memory = "50m"}, trees);
  ASSERT_EQ(plan.groups[0].settings.size(), 2U);
  plan.groups[0].settings[0].may_be_absent = true;  // there is no such file in a plain directory either
  plan.groups[0].settings.resize(2);
  const auto absent = ContainerCgroup::create(plan);
  ASSERT_FALSE(absent.ok());
  EXPECT_THAT(absent.error().message, HasSubstr("tasks")) << "the settings were passed over";
}

TEST(ContainerCgroup, SecondOfAnIdIsRefused) {
  FakeCgroups trees;
  trees.add_v1("pids", "pids");
  const LimitPlan plan = plan_for({}, trees);
  ASSERT_TRUE(ContainerCgroup::create(plan, O_CREAT).ok());
  EXPECT_EQ(trees.text("pids/varve/c0ffee/pids.max"), "2048");
  EXPECT_FALSE(ContainerCgroup::create({.groups = {plan.groups[0]}}, O_CREAT).ok());
  EXPECT_EQ(::access(trees.path("pids/varve/c0ffee").c_str(), F_OK), 0) << "the first one's is kept";
}

TEST(ContainerCgroup, PlanWithoutGroupsDoesNothing) {
  const auto cgroup = ContainerCgroup::create({});
  ASSERT_TRUE(cgroup.ok());
  EXPECT_TRUE(cgroup->empty());
  EXPECT_TRUE(cgroup->enter().ok());
  EXPECT_TRUE(cgroup->remove().ok());
}

TEST(ContainerCgroup, RecordedPathsMustBeGroupsOfTheContainer) {
  for (const char* path :
       {"/etc", "/sys/fs/cgroup/varve/other", "varve/c0ffee", "/a/../etc/varve/c0ffee", ""}) {
    EXPECT_FALSE(ContainerCgroup::open({path}, "c0ffee").ok()) << path;
  }
  EXPECT_FALSE(ContainerCgroup::open({"/varve/"}, "").ok());
  EXPECT_TRUE(ContainerCgroup::open({"/sys/fs/cgroup/varve/c0ffee"}, "c0ffee").ok());
}

TEST(ContainerCgroup, KnownOneCanBeEntered) {
  const ScratchDirectory scratch;
  scratch.make_directory("v1/varve/c0ffee");
  scratch.write_file("v1/varve/c0ffee/tasks", "");
  scratch.make_directory("v2/varve/c0ffee");
  scratch.write_file("v2/varve/c0ffee/cgroup.controllers", "pids");
  auto cgroup = ContainerCgroup::open(
      {scratch.path() + "/v1/varve/c0ffee", scratch.path() + "/v2/varve/c0ffee"}, "c0ffee");
  ASSERT_TRUE(cgroup.ok());
  EXPECT_EQ(cgroup->clone_fd(), -1);
  ASSERT_TRUE(cgroup->open_for_entry().ok());
  EXPECT_GE(cgroup->clone_fd(), 0);
  ASSERT_TRUE(cgroup->enter().ok());
  EXPECT_EQ(*read_group_file(scratch.path() + "/v1/varve/c0ffee/tasks"), "0");
}

TEST(ContainerCgroup, RemoveTakesEmptyGroupsAndThoseThatAreGone) {
  const ScratchDirectory scratch;
  const std::string below = scratch.make_directory("a/varve/c0ffee/made-by-the-container");
  const auto cgroup = ContainerCgroup::open(
      {scratch.path() + "/a/varve/c0ffee", scratch.path() + "/b/varve/c0ffee"}, "c0ffee");
  ASSERT_TRUE(cgroup.ok());
  const auto removed = cgroup->remove();
  EXPECT_TRUE(removed.ok()) << removed.error().message;
  EXPECT_NE(::access((scratch.path() + "/a/varve/c0ffee").c_str(), F_OK), 0);
  EXPECT_EQ(::access((scratch.path() + "/a/varve").c_str(), F_OK), 0) << "others' groups may come into it";
}

TEST(ContainerCgroup, FreezingUsesWhatThereIs) {
  const ScratchDirectory scratch;
  scratch.make_directory("v1/varve/c0ffee");
  scratch.write_file("v1/varve/c0ffee/freezer.state", "THAWED");
  scratch.make_directory("v2/varve/c0ffee");
  scratch.write_file("v2/varve/c0ffee/cgroup.freeze", "0");
  const auto v1 = ContainerCgroup::open({scratch.path() + "/v1/varve/c0ffee"}, "c0ffee");
  const auto v2 = ContainerCgroup::open({scratch.path() + "/v2/varve/c0ffee"}, "c0ffee");
  ASSERT_TRUE(v1.ok() && v2.ok());
  ASSERT_TRUE(v1->freeze().ok() && v2->freeze().ok());
  EXPECT_EQ(*read_group_file(scratch.path() + "/v1/varve/c0ffee/freezer.state"), "FROZEN");
  EXPECT_EQ(*read_group_file(scratch.path() + "/v2/varve/c0ffee/cgroup.freeze"), "1");
  ASSERT_TRUE(v2->thaw().ok());
  EXPECT_EQ(*read_group_file(scratch.path() + "/v2/varve/c0ffee/cgroup.freeze"), "0");
}

TEST(GroupStatistics, BothVersionsAreRead) {
  const ScratchDirectory scratch;
  const std::string v1 = scratch.make_directory("v1");
  scratch.write_file("v1/memory.usage_in_bytes", "4096\n");
  scratch.write_file("v1/memory.limit_in_bytes", "9223372036854771712\n");
  scratch.write_file("v1/memory.max_usage_in_bytes", "8192\n");
  scratch.write_file("v1/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
  scratch.write_file("v1/cpuacct.usage", "1234567\n");
  scratch.write_file("v1/pids.current", "5\n");
  scratch.write_file("v1/pids.max", "max\n");
  scratch.write_file("v1/blkio.throttle.io_service_bytes_recursive",
                     "8:0 Read 100\n8:0 Write 200\n8:16 Read 1\n8:16 Write 2\n8:0 Total 300\nTotal 303\n");
  const GroupStatistics one = read_group_statistics({scratch.path() + "/nothing", v1});
  EXPECT_EQ(one.memory_bytes, 4096U);
  EXPECT_FALSE(one.memory_limit_bytes.has_value());
  EXPECT_EQ(one.memory_peak_bytes, 8192U);
  EXPECT_EQ(one.cpu_ns, 1234567U);
  EXPECT_EQ(one.pids, 5U);
  EXPECT_FALSE(one.pids_limit.has_value());
  EXPECT_EQ(one.read_bytes, 101U);
  EXPECT_EQ(one.written_bytes, 202U);
  EXPECT_EQ(count_oom_kills({v1}), 3U);

  const std::string v2 = scratch.make_directory("v2");
  scratch.write_file("v2/memory.current", "4096\n");
  scratch.write_file("v2/memory.max", "52428800\n");
  scratch.write_file("v2/memory.events", "low 0\noom 1\noom_kill 2\noom_group_kill 7\n");
  scratch.write_file("v2/cpu.stat", "usage_usec 77\nuser_usec 70\n");
  scratch.write_file("v2/pids.max", "20\n");
  scratch.write_file("v2/io.stat", "8:0 rbytes=10 wbytes=20 rios=1 wios=1\n8:16 rbytes=1 wbytes=2 rios=1\n");
  const GroupStatistics two = read_group_statistics({v2});
  EXPECT_EQ(two.memory_limit_bytes, 52428800U);
  EXPECT_FALSE(two.memory_peak_bytes.has_value()) << "a kernel before 5.19 has no memory.peak";
  EXPECT_EQ(two.cpu_ns, 77000U);
  EXPECT_EQ(two.pids_limit, 20U);
  EXPECT_EQ(two.read_bytes, 11U);
  EXPECT_EQ(two.written_bytes, 22U);
  EXPECT_EQ(count_oom_kills({v2}), 2U);
}

}  // namespace
}  // namespace varve::launcher
