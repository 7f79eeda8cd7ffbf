#include "launcher/mount_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "scratch_directory.h"

namespace varve::launcher {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

std::string refusal_of(const ResultOrFailure<MountEntry>& entry) {
  return entry.ok() ? "" : entry.error().message;
}

TEST(MountWords, VolumeTellsPathsFromNames) {
  EXPECT_EQ(parse_volume("/host:/inside")->kind, MountEntry::Kind::kBind);
  EXPECT_EQ(parse_volume("./host:/inside")->kind, MountEntry::Kind::kBind);
  EXPECT_EQ(parse_volume("cache:/inside")->kind, MountEntry::Kind::kVolume);
  EXPECT_EQ(parse_volume("cache:/inside")->source, "cache");
  EXPECT_EQ(parse_volume("/inside")->kind, MountEntry::Kind::kVolume);
  EXPECT_EQ(parse_volume("/inside")->source, "");
}

TEST(MountWords, VolumeOptionsAreAttributes) {
  const ResultOrFailure<MountEntry> entry = parse_volume("/host:/inside:ro,noexec,nosuid,nodev,bind");
  ASSERT_TRUE(entry.ok()) << entry.error().message;
  EXPECT_EQ(entry->attributes,
            std::uint64_t{MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV});
  EXPECT_FALSE(entry->recursive);
  EXPECT_EQ(parse_volume("/host:/inside:ro,rw")->attributes, 0U);
  EXPECT_THAT(parse_volume("/host:/inside:Z")->note, HasSubstr("SELinux"));
}

TEST(MountWords, WhatIsNoVolumeIsRefused) {
  EXPECT_THAT(refusal_of(parse_volume("a/b:/inside")), HasSubstr("begins with '/' or './'"));
  EXPECT_THAT(refusal_of(parse_volume("..:inside")), HasSubstr("not absolute"));
  EXPECT_THAT(refusal_of(parse_volume("/host:/inside:U")), HasSubstr("chown"));
  EXPECT_THAT(refusal_of(parse_volume("/host:/inside:shared")), HasSubstr("private"));
  EXPECT_THAT(refusal_of(parse_volume("/host:/inside:size=1m")), HasSubstr("no such option"));
  EXPECT_THAT(refusal_of(parse_volume("/host:/inside:nocopy")), HasSubstr("no such option"));
  EXPECT_THAT(refusal_of(parse_volume("/a:/b:ro:rw")), HasSubstr("three parts"));
}

TEST(MountWords, TargetsArePlainAndNotInTheKernelsFileSystems) {
  EXPECT_EQ(*parse_target("/a/./b//c/", ""), "/a/b/c");
  EXPECT_EQ(*parse_target("//a/../../b", ""), "/b");
  EXPECT_EQ(*parse_target("/process", ""), "/process");
  for (const char* path :
       {"", "a", "/", "/..", "//", "/proc", "/proc/", "/sys/fs/cgroup", "/a/../proc/self", "/./sys"}) {
    EXPECT_FALSE(parse_target(path, path).ok()) << path;
  }
}

TEST(MountWords, TmpfsIsHarmlessUnlessItSaysOtherwise) {
  EXPECT_EQ(parse_tmpfs("/t")->attributes,
            std::uint64_t{MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC});
  const ResultOrFailure<MountEntry> entry = parse_tmpfs("/t:size=50%,mode=0700,exec,suid,notmpcopyup");
  ASSERT_TRUE(entry.ok()) << entry.error().message;
  EXPECT_EQ(entry->attributes, std::uint64_t{MOUNT_ATTR_NODEV});
  EXPECT_THAT(entry->parameters, ElementsAre(Pair("size", "50%"), Pair("mode", "0700")));
  EXPECT_FALSE(entry->copies_image);
  for (const char* words :
       {"size=", "size=k", "size=1t", "size=-1", "mode=8", "mode=", "uid=root", "gid=1k", "huge=1"}) {
    EXPECT_FALSE(parse_tmpfs(std::string("/t:") + words).ok()) << words;
  }
}

TEST(MountWords, MountTakesItsTypeWhereverItStands) {
  const ResultOrFailure<MountEntry> entry = parse_mount("tmpfs-size=1m,readonly,dst=/t,type=tmpfs");
  ASSERT_TRUE(entry.ok()) << entry.error().message;
  EXPECT_EQ(entry->kind, MountEntry::Kind::kTmpfs);
  EXPECT_THAT(entry->parameters, ElementsAre(Pair("size", "1m")));
  EXPECT_NE(entry->attributes & MOUNT_ATTR_RDONLY, 0U);
  EXPECT_EQ(parse_mount("target=/t,source=name")->kind, MountEntry::Kind::kVolume);
  EXPECT_EQ(parse_mount("type=bind,src=/a:b,target=/t,ro=false")->source, "/a:b");
  for (const char* text :
       {"type=bind,target=/t", "type=tmpfs,target=/t,src=/a", "type=volume,src=/a,target=/t",
        "type=bind,src=/a", "type=nfs,target=/t", "type=bind,src=/a,target=/t,ro=maybe"}) {
    EXPECT_FALSE(parse_mount(text).ok()) << text;
  }
}

TEST(MountWords, DeviceHasNamesAndAccess) {
  const ResultOrFailure<DeviceWords> device = parse_device("/dev/a:/dev/b:rw");
  ASSERT_TRUE(device.ok()) << device.error().message;
  EXPECT_EQ(device->host_path + device->container_path + device->access, "/dev/a/dev/brw");
  EXPECT_EQ(parse_device("/dev/a:rw")->container_path, "/dev/a");
  EXPECT_EQ(parse_device("/dev/a")->access, "rwm");
  for (const char* text : {"", "a", "/dev/a:/b:rw:x", "/dev/a:b", "/dev/a:/proc/b"}) {
    EXPECT_FALSE(parse_device(text).ok()) << text;
  }
}

TEST(MountWords, SizesHaveUnits) {
  EXPECT_EQ(*parse_byte_size("64m", "--x"), 64U << 20);
  EXPECT_EQ(*parse_byte_size("1G", "--x"), 1U << 30);
  EXPECT_EQ(*parse_byte_size("7b", "--x"), 7U);
  EXPECT_EQ(*parse_byte_size("0", "--x"), 0U);
  for (const char* text : {"", "m", "1mb", "-1", "1t", "17179869184g", "18446744073709551616"}) {
    EXPECT_FALSE(parse_byte_size(text, "--x").ok()) << text;
  }
}

class MountPlanTest : public ::testing::Test {
 protected:
  std::vector<std::string> targets(const MountOptions& options) const {
    const ResultOrFailure<MountPlan> plan = plan_mounts(options, context_);
    EXPECT_TRUE(plan.ok()) << plan.error().message;
    std::vector<std::string> found;
    if (plan.ok()) {
      for (const MountEntry& entry : plan->mounts) found.push_back(entry.target);
    }
    return found;
  }
  std::string refusal(const MountOptions& options) const {
    const ResultOrFailure<MountPlan> plan = plan_mounts(options, context_);
    return plan.ok() ? "" : plan.error().message;
  }

  ScratchDirectory scratch_;
  MountContext context_{.store_directory = "/store", .container_directory = "/store/containers/c"};
};

TEST_F(MountPlanTest, WhatLiesAboveComesFirst) {
  EXPECT_THAT(targets({.volumes = {"a:/x/y/z", "b:/x"}, .tmpfs = {"/x/y"}}),
              ElementsAre("/x", "/x/y", "/x/y/z"));
}

TEST_F(MountPlanTest, OneTargetTwiceIsRefused) {
  EXPECT_THAT(refusal({.volumes = {"a:/x"}, .tmpfs = {"/x/"}}), HasSubstr("two things"));
}

TEST_F(MountPlanTest, LinksOfTheHostAreFollowed) {
  const std::string directory = scratch_.make_directory("real");
  std::filesystem::create_symlink("real", scratch_.path() + "/link");
  const auto plan = plan_mounts({.volumes = {scratch_.path() + "/link:/x"}}, context_);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_EQ(plan->mounts[0].source, std::filesystem::canonical(directory).string());
  EXPECT_THAT(refusal({.volumes = {scratch_.path() + "/none:/x"}}), HasSubstr("must exist on the host"));
}

TEST_F(MountPlanTest, VolumesLieInTheStoreOrWithTheirContainer) {
  const auto plan = plan_mounts({.volumes = {"cache:/a", "/b", "/c"}}, context_);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_EQ(plan->mounts[0].source, "/store/volumes/cache");
  EXPECT_EQ(plan->mounts[1].source, "/store/containers/c/volumes/0");
  EXPECT_EQ(plan->mounts[2].source, "/store/containers/c/volumes/1");
  EXPECT_TRUE(plan->has_anonymous_volumes);
}

TEST_F(MountPlanTest, VolumesOfAnImageArePathsAndNothingElse) {
  context_.image_volumes = {"/data", "/etc:/host"};
  const auto plan = plan_mounts({}, context_);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  ASSERT_EQ(plan->mounts.size(), 2U);
  for (const MountEntry& entry : plan->mounts) {
    EXPECT_THAT(entry.source, HasSubstr("/store/containers/c/volumes/"));
  }
  context_.image_volumes = {"name:/data"};
  EXPECT_THAT(refusal({}), HasSubstr("--image-volume=ignore"));
  EXPECT_THAT(targets({.image_volumes = "ignore"}), IsEmpty());
}

TEST_F(MountPlanTest, WhatIsAskedForComesBeforeTheImagesVolumes) {
  context_.image_volumes = {"/data"};
  const auto plan = plan_mounts({.tmpfs = {"/data"}}, context_);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  ASSERT_EQ(plan->mounts.size(), 1U);
  EXPECT_EQ(plan->mounts[0].kind, MountEntry::Kind::kTmpfs);
}

TEST_F(MountPlanTest, ReadOnlyRootsGetPlacesToWrite) {
  context_.read_only_root = true;
  EXPECT_THAT(targets({.volumes = {"a:/tmp"}}), ElementsAre("/tmp", "/run", "/var/tmp"));
  EXPECT_THAT(targets({.read_only_tmpfs = false}), IsEmpty());
}

TEST_F(MountPlanTest, DevicesAreNodesOfTheHost) {
  const auto plan = plan_mounts({.devices = {"/dev/null:/dev/sink"}}, context_);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_EQ(to_text(*plan), "device:       /dev/sink <- /dev/null (c 1:3, rwm)\n");
  EXPECT_THAT(refusal({.devices = {scratch_.write_file("file", "") + ":/dev/x"}}),
              HasSubstr("no device node"));
  EXPECT_EQ(plan_mounts({.devices = {"/dev/null:/dev/sink:r"}}, context_)->devices.at(0).access, "r");
}

TEST_F(MountPlanTest, VolumesAreRefusedWhereNobodyInsideMayOwnThem) {
  context_.volumes_fit = false;
  EXPECT_THAT(refusal({.volumes = {"name:/x"}}), HasSubstr("--userns auto"));
  EXPECT_THAT(refusal({.volumes = {"/x"}}), HasSubstr("--userns auto"));
  EXPECT_THAT(targets({.volumes = {"/etc:/x"}, .tmpfs = {"/y"}}), ElementsAre("/x", "/y"));
}

TEST_F(MountPlanTest, SharedNamespacesLeaveNoRoomForMounts) {
  context_.own_ipc = false;
  EXPECT_THAT(refusal({.shm_size = "1m"}),
              HasSubstr("the shared memory is the host's, or that of a container"));
  context_.own_mounts = false;
  EXPECT_THAT(refusal({.tmpfs = {"/x"}}), HasSubstr("--share"));
  context_.image_volumes = {"/data"};
  EXPECT_THAT(targets({}), IsEmpty());
}

}  // namespace
}  // namespace varve::launcher
