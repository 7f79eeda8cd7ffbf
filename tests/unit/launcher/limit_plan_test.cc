#include "launcher/cgroup/limit_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/unit/launcher/fake_cgroups.h"

namespace varve::launcher {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

ResultOrFailure<LimitPlan> plan_for(const LimitOptions& options, const CgroupHost& host, bool is_root) {
  return plan_limits(options, {.host = host, .is_root = is_root, .id = "c0ffee", .filter_devices = true});
}

// "FILE=VALUE" of the groups that lie below `directory`.
std::vector<std::string> settings_in(const LimitPlan& plan, const std::string& directory) {
  std::vector<std::string> found;
  for (const GroupPlan& group : plan.groups) {
    if (group.path != directory + "/varve/c0ffee") continue;
    for (const LimitSetting& setting : group.settings) {
      found.push_back(setting.files[0].name + "=" + setting.files[0].value);
    }
  }
  return found;
}

std::string complaint(const ResultOrFailure<LimitPlan>& plan) {
  return plan.ok() ? "" : plan.error().message;
}

TEST(Hierarchies, ControllersAreFoundWhereTheyAreMounted) {
  const std::vector<CgroupHierarchy> found = parse_hierarchies(
      "30 22 0:27 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
      "31 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
      "32 30 0:29 /a /mnt/with\\040space ro - cgroup cgroup rw,xattr,memory\n"
      "33 30 0:28 / /mnt/again rw - cgroup cgroup rw,cpu,cpuacct\n"
      "39 30 0:36 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
      "40 30 0:37 / /nosuch/unified rw - cgroup2 cgroup2 rw\n",
      "3:cpu,cpuacct:/user\n2:memory:/a/b\n1:name=systemd:/\n0::/../other\n");
  ASSERT_EQ(found.size(), 4U);
  EXPECT_THAT(found[0].controllers, ElementsAre("cpu", "cpuacct"));
  EXPECT_EQ(found[0].own_group, "/sys/fs/cgroup/cpu,cpuacct/user");
  EXPECT_EQ(found[1].mount_point, "/mnt/with space");
  EXPECT_EQ(found[1].own_group, "/mnt/with space/b") << "the mount shows the tree from /a on";
  EXPECT_TRUE(found[1].read_only);
  EXPECT_THAT(found[2].controllers, IsEmpty());
  EXPECT_TRUE(found[3].is_v2);
  EXPECT_EQ(found[3].own_group, "") << "it lies outside the cgroup namespace";
}

TEST(LimitPlan, Version1TakesEachControllerWhereItIs) {
  FakeCgroups trees;
  for (const char* one : {"memory", "cpu", "pids", "blkio", "devices", "freezer", "cpuset"})
    trees.add_v1(one, one);
  LimitOptions options;
  options.memory = "50m";
  options.cpus = "0.2";
  options.cpu_shares = "512";
  options.cpuset_cpus = "0";
  options.pids = "20";
  options.blkio_weight = "100";
  const auto plan = plan_for(options, trees.host(), true);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_THAT(settings_in(*plan, trees.path("memory")),
              ElementsAre("memory.limit_in_bytes=52428800", "memory.memsw.limit_in_bytes=104857600"));
  EXPECT_THAT(settings_in(*plan, trees.path("cpu")),
              ElementsAre("cpu.cfs_period_us=100000", "cpu.cfs_quota_us=20000", "cpu.shares=512"));
  EXPECT_THAT(settings_in(*plan, trees.path("cpuset")), ElementsAre("cpuset.cpus=0"));
  EXPECT_THAT(settings_in(*plan, trees.path("pids")), ElementsAre("pids.max=20"));
  EXPECT_THAT(settings_in(*plan, trees.path("blkio")), ElementsAre("blkio.bfq.weight=100"));
  EXPECT_EQ(plan->device_filter, LimitPlan::DeviceFilter::kVersion1);
  EXPECT_EQ(plan->groups.size(), 7U) << "with the freezer, to kill";
}

TEST(LimitPlan, Version2HasOneGroup) {
  FakeCgroups trees;
  trees.add_v2("unified", "cpuset cpu io memory pids");
  LimitOptions options;
  options.memory = "50m";
  options.memory_swap = "60m";
  options.memory_reservation = "10m";
  options.cpus = "0.2";
  options.cpu_shares = "1024";
  options.blkio_weight = "1000";
  const auto plan = plan_for(options, trees.host(), true);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  ASSERT_EQ(plan->groups.size(), 1U);
  EXPECT_THAT(settings_in(*plan, trees.path("unified")),
              ElementsAre("memory.max=52428800", "memory.swap.max=10485760", "memory.low=10485760",
                          "cpu.max=20000 100000", "cpu.weight=39", "io.bfq.weight=1000", "pids.max=2048"));
  EXPECT_THAT(plan->groups[0].controllers, UnorderedElementsAre("memory", "cpu", "io", "pids"));
}

TEST(LimitPlan, HybridUsesBothVersions) {
  FakeCgroups trees;
  trees.add_v1("memory", "memory");
  trees.add_v2("unified", "pids");
  LimitOptions options;
  options.memory = "50m";
  const auto plan = plan_for(options, trees.host(), true);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_THAT(plan->paths(),
              ElementsAre(trees.path("memory/varve/c0ffee"), trees.path("unified/varve/c0ffee")));
  EXPECT_THAT(settings_in(*plan, trees.path("unified")), ElementsAre("pids.max=2048"));
}

TEST(LimitPlan, UnlimitedSwapIsWrittenAsEachVersionDoes) {
  FakeCgroups v1;
  v1.add_v1("memory", "memory");
  FakeCgroups v2;
  v2.add_v2("unified", "memory");
  LimitOptions options;
  options.memory = "50m";
  options.memory_swap = "-1";
  const auto plan_1 = plan_for(options, v1.host(), true);
  const auto plan_2 = plan_for(options, v2.host(), true);
  ASSERT_TRUE(plan_1.ok() && plan_2.ok());
  EXPECT_THAT(settings_in(*plan_1, v1.path("memory")),
              ElementsAre("memory.limit_in_bytes=52428800", "memory.memsw.limit_in_bytes=-1"));
  EXPECT_THAT(settings_in(*plan_2, v2.path("unified")),
              ElementsAre("memory.max=52428800", "memory.swap.max=max"));
}

TEST(LimitPlan, UserWithoutDelegationRunsWithoutGroups) {
  FakeCgroups trees;
  trees.add_v1("pids", "pids");
  trees.add_v1("memory", "memory");
  trees.add_v2("unified", "");
  const auto plan = plan_for({}, trees.host_of_user("nothing"), false);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_THAT(plan->groups, IsEmpty());
  EXPECT_THAT(plan->limits, IsEmpty());
  EXPECT_THAT(to_text(*plan), AllOf(HasSubstr("limits:       none"), HasSubstr("no limit of processes")));
}

TEST(LimitPlan, UserWithoutDelegationIsToldWhatToDo) {
  FakeCgroups v1;
  v1.add_v1("memory", "memory");
  FakeCgroups v2;
  v2.add_v2("unified", "memory", "/session");
  v2.add_v2_group("unified/session", "memory", "1\n");
  LimitOptions options;
  options.memory = "50m";
  EXPECT_THAT(complaint(plan_for(options, v1.host_of_user("nothing"), false)),
              AllOf(HasSubstr("--memory"), HasSubstr(v1.path("memory")), HasSubstr("as root")));
  EXPECT_THAT(complaint(plan_for(options, v2.host_of_user("nothing"), false)),
              AllOf(HasSubstr("--memory"), HasSubstr(v2.path("unified/session")), HasSubstr("Delegate=yes")));
}

TEST(LimitPlan, DelegatedUserUsesTheHighestOfHisGroups) {
  FakeCgroups trees;
  trees.add_v2("unified", "memory pids", "/user/service/app/term");
  trees.add_v2_group("unified/user", "memory pids", "");
  trees.add_v2_group("unified/user/service", "memory pids", "", "memory pids");
  trees.add_v2_group("unified/user/service/app", "memory pids", "");
  trees.add_v2_group("unified/user/service/app/term", "memory pids", "77\n");
  LimitOptions options;
  options.memory = "50m";
  const auto plan = plan_for(options, trees.host_of_user("unified/user/service"), false);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_THAT(plan->paths(), ElementsAre(trees.path("unified/user/service/varve/c0ffee")));
  EXPECT_FALSE(plan->groups[0].leave_base);
  EXPECT_EQ(plan->device_filter, LimitPlan::DeviceFilter::kNone);
  EXPECT_THAT(to_text(*plan), HasSubstr("no device filter"));
}

TEST(LimitPlan, LauncherAloneInItsScopeLeavesItForLimits) {
  FakeCgroups trees;
  trees.add_v2("unified", "memory pids", "/scope");
  trees.add_v2_group("unified/scope", "memory pids", std::to_string(::getpid()) + "\n");
  LimitOptions options;
  options.memory = "50m";
  const auto plan = plan_for(options, trees.host_of_user("unified/scope"), false);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  ASSERT_EQ(plan->groups.size(), 1U);
  EXPECT_TRUE(plan->groups[0].leave_base);
  const auto unasked = plan_for({}, trees.host_of_user("unified/scope"), false);
  ASSERT_TRUE(unasked.ok());
  EXPECT_THAT(unasked->groups, IsEmpty()) << "nobody asked for a limit";
}

TEST(LimitPlan, OtherProcessesInTheScopeAreInTheWay) {
  FakeCgroups trees;
  trees.add_v2("unified", "memory pids", "/scope");
  trees.add_v2_group("unified/scope", "memory pids", std::to_string(::getpid()) + "\n1\n");
  LimitOptions options;
  options.memory = "50m";
  EXPECT_THAT(complaint(plan_for(options, trees.host_of_user("unified/scope"), false)),
              AllOf(HasSubstr("--memory"), HasSubstr("other processes"), HasSubstr("systemd-run")));
}

TEST(LimitPlan, ControllerThatIsNotDelegatedIsNamed) {
  FakeCgroups trees;
  trees.add_v2("unified", "memory pids cpu", "/scope");
  trees.add_v2_group("unified/scope", "memory pids", "", "");
  LimitOptions options;
  options.cpus = "1";
  EXPECT_THAT(complaint(plan_for(options, trees.host_of_user("unified/scope"), false)),
              AllOf(HasSubstr("--cpus"), HasSubstr("no cpu controller"), HasSubstr("memory pids")));
}

TEST(LimitPlan, HostWithoutControllersRefusesWhatIsAskedFor) {
  LimitOptions options;
  options.cpuset_cpus = "0";
  const FakeCgroups none;
  EXPECT_THAT(complaint(plan_for(options, none.host(), true)),
              AllOf(HasSubstr("--cpuset-cpus"), HasSubstr("cpuset")));
}

TEST(LimitPlan, ReadOnlyTreeIsNotUsed) {
  FakeCgroups trees;
  trees.add_v1("memory", "memory", "/", "ro");
  LimitOptions options;
  options.memory = "50m";
  EXPECT_THAT(complaint(plan_for(options, trees.host(), true)), HasSubstr("read-only"));
  EXPECT_TRUE(plan_for({}, trees.host(), true).ok());
}

TEST(LimitPlan, ValuesThatContradictAreRefused) {
  FakeCgroups trees;
  trees.add_v1("memory", "memory");
  trees.add_v1("blkio", "blkio");
  const auto complaint_of = [&](const LimitOptions& options) {
    return complaint(plan_for(options, trees.host(), true));
  };
  EXPECT_THAT(complaint_of({.memory = "50m", .memory_swap = "10m"}), HasSubstr("--memory-swap"));
  EXPECT_THAT(complaint_of({.memory_swap = "10m"}), HasSubstr("--memory"));
  EXPECT_THAT(complaint_of({.memory = "50m", .memory_reservation = "60m"}),
              HasSubstr("--memory-reservation"));
  EXPECT_THAT(complaint_of({.blkio_weight = "5"}), HasSubstr("--blkio-weight"));
  EXPECT_THAT(complaint_of({.device_read_bps = {"/dev/null:1m"}}), HasSubstr("no block device"));
  EXPECT_THAT(complaint_of({.device_read_bps = {"/nosuch:1m"}}), HasSubstr("/nosuch"));
}

TEST(LimitPlan, UnlimitedProcessesAreNoSetting) {
  FakeCgroups trees;
  trees.add_v1("pids", "pids");
  const auto plan = plan_for({.pids = "-1"}, trees.host(), true);
  ASSERT_TRUE(plan.ok());
  EXPECT_THAT(settings_in(*plan, trees.path("pids")), IsEmpty());
  EXPECT_THAT(to_text(*plan), Not(HasSubstr("pids-limit")));
}

TEST(LimitPlan, ClassOfTrafficIsOfVersion1) {
  FakeCgroups trees;
  trees.add_v1("net_cls,net_prio", "net_cls,net_prio");
  trees.add_v2("unified", "pids");
  const auto plan = plan_for({.net_class = "10:1"}, trees.host(), true);
  ASSERT_TRUE(plan.ok()) << complaint(plan);
  EXPECT_THAT(settings_in(*plan, trees.path("net_cls,net_prio")), ElementsAre("net_cls.classid=1048577"));
  for (const char* bad : {"10", "10:", ":1", "0:1", "10000:1", "10:10000", "10:1x", "-1:1"}) {
    EXPECT_THAT(complaint(plan_for({.net_class = bad}, trees.host(), true)), HasSubstr("--net-classid"))
        << bad;
  }
  FakeCgroups version_2;
  version_2.add_v2("unified", "memory pids");
  EXPECT_THAT(complaint(plan_for({.net_class = "10:1"}, version_2.host(), true)),
              AllOf(HasSubstr("--net-classid"), HasSubstr("no net_cls controller")));
}

TEST(LimitPlan, GroupsCanBeLeftOut) {
  FakeCgroups trees;
  trees.add_v1("memory", "memory");
  trees.add_v2("unified", "pids");
  const auto plan = plan_for({.cgroups = "disabled"}, trees.host(), true);
  ASSERT_TRUE(plan.ok()) << complaint(plan);
  EXPECT_THAT(plan->groups, IsEmpty());
  EXPECT_THAT(plan->limits, IsEmpty());
  EXPECT_EQ(plan->device_filter, LimitPlan::DeviceFilter::kNone);
  EXPECT_THAT(to_text(*plan), HasSubstr("nothing is limited, counted or filtered"));
  EXPECT_FALSE(plan_for({.cgroups = "enabled"}, trees.host(), true)->groups.empty());
}

TEST(LimitPlan, WithoutGroupsNothingIsLimitedAndNoDeviceMade) {
  FakeCgroups trees;
  trees.add_v1("memory", "memory");
  trees.add_v2("unified", "pids");
  EXPECT_THAT(complaint(plan_for({.memory = "50m", .cgroups = "disabled"}, trees.host(), true)),
              AllOf(HasSubstr("--memory"), HasSubstr("--cgroups disabled")));
  EXPECT_THAT(complaint(plan_for({.pids = "5", .cgroups = "disabled"}, trees.host(), true)),
              HasSubstr("--pids-limit"));
  const CgroupHost host = trees.host();
  EXPECT_THAT(
      complaint(plan_limits({.cgroups = "disabled"},
                            {.host = host, .is_root = true, .id = "c0ffee", .may_make_devices = true})),
      HasSubstr("CAP_MKNOD"));
  EXPECT_THAT(complaint(plan_for({.cgroups = "split"}, trees.host(), true)),
              HasSubstr("enabled or disabled"));
}

TEST(LimitPlan, StackMayOpenItsFuseDevice) {
  FakeCgroups trees;
  trees.add_v1("devices", "devices");
  const CgroupHost host = trees.host();
  const auto plan = plan_limits(
      {}, {.host = host, .is_root = true, .id = "c0ffee", .filter_devices = true, .root_is_fuse = true});
  ASSERT_TRUE(plan.ok());
  EXPECT_THAT(to_text(*plan), HasSubstr("c 10:229 rw\n"));
}

}  // namespace
}  // namespace varve::launcher
