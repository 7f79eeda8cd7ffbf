#include "fs/fuse/mount_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace varve::fuse {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

MountOptions parse(std::string_view text) {
  MountOptions options;
  const StatusOrFailure status = parse_mount_options(text, options);
  EXPECT_TRUE(status.ok()) << (status.ok() ? "" : status.error().message);
  return options;
}

TEST(MountOptions, LowersKeepTheirOrderTopFirst) {
  EXPECT_THAT(parse("lowerdir=/a:/b:/c").view.lower_paths, ElementsAre("/a", "/b", "/c"));
}

TEST(MountOptions, EscapedColonsAndCommasBelongToThePath) {
  const MountOptions options = parse(R"(lowerdir=/a\:b:/c\,d:/e\\f,upperdir=/u\,v,workdir=/w)");
  EXPECT_THAT(options.view.lower_paths, ElementsAre("/a:b", "/c,d", "/e\\f"));
  EXPECT_EQ(options.view.upper_path, "/u,v");
}

TEST(MountOptions, EmptyFieldsAndTrailingCommasAreSkipped) {
  EXPECT_THAT(parse(",lowerdir=/a::/b,,ro,").view.lower_paths, ElementsAre("/a", "/b"));
}

TEST(MountOptions, PathsAreNotNormalised) {
  EXPECT_THAT(parse("lowerdir=link/../diff//x/.").view.lower_paths, ElementsAre("link/../diff//x/."));
}

TEST(MountOptions, UnknownOptionIsAWarning) {
  EXPECT_THAT(parse("lowerdir=/a,wibble=3").warnings, ElementsAre(HasSubstr("wibble=3")));
}

TEST(MountOptions, OptionsOfOverlayfsAreTakenWithoutAWord) {
  const MountOptions options =
      parse("lowerdir=/a,redirect_dir=on,metacopy=on,index=off,xino=auto,userxattr,static_nlink");
  EXPECT_THAT(options.warnings, IsEmpty());
  EXPECT_THAT(options.kernel_options, IsEmpty());
}

TEST(MountOptions, OneOwnerForAllIsRefusedRatherThanIgnored) {
  MountOptions options;
  const StatusOrFailure status = parse_mount_options("lowerdir=/a,squash_to_uid=5", options);
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().message, HasSubstr("squash_to_uid"));
}

TEST(MountOptions, OwnersAreShiftedAsFuseOverlayfsDoes) {
  const MountOptions options = parse("lowerdir=/a,uidmapping=0:1000:1:1:100000:65536,gidmapping=0:7:1");
  EXPECT_EQ(options.ids.users.shown(1), 100000u);
  EXPECT_EQ(options.ids.groups.shown(0), 7u);
  MountOptions bad;
  const StatusOrFailure status = parse_mount_options("lowerdir=/a,gidmapping=0:1", bad);
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().message, HasSubstr("gidmapping=0:1: "));
}

TEST(MountOptions, OwnersInXattrsAreSwitchedOnAsFuseOverlayfsDoes) {
  EXPECT_TRUE(parse("lowerdir=/a,xattr_permissions=2").view.override_owners);
  EXPECT_FALSE(parse("lowerdir=/a,xattr_permissions=0").view.override_owners);
  for (const char* bad : {"xattr_permissions=1", "xattr_permissions=3", "xattr_permissions"}) {
    MountOptions options;
    EXPECT_FALSE(parse_mount_options(bad, options).ok()) << bad;
  }
}

TEST(MountOptions, PassthroughIsChosen) {
  EXPECT_EQ(parse("lowerdir=/a").passthrough, PassthroughUse::kAuto);
  EXPECT_EQ(parse("lowerdir=/a,passthrough=on").passthrough, PassthroughUse::kOn);
  EXPECT_EQ(parse("lowerdir=/a,passthrough=off").passthrough, PassthroughUse::kOff);
  MountOptions options;
  EXPECT_FALSE(parse_mount_options("passthrough=never", options).ok());
}

TEST(MountOptions, UringIsChosen) {
  EXPECT_EQ(parse("lowerdir=/a").uring, RingUse::kAuto);
  EXPECT_EQ(parse("lowerdir=/a,uring=on").uring, RingUse::kOn);
  EXPECT_EQ(parse("lowerdir=/a,uring=off").uring, RingUse::kOff);
  MountOptions options;
  EXPECT_FALSE(parse_mount_options("uring=yes", options).ok());
}

TEST(MountOptions, TheTimeToWakeUpWithinMayBeZero) {
  EXPECT_EQ(parse("lowerdir=/a").wakeup_us, std::nullopt);
  EXPECT_EQ(parse("lowerdir=/a,wakeup_us=0").wakeup_us, 0U);
  EXPECT_EQ(parse("lowerdir=/a,wakeup_us=1000000").wakeup_us, 1'000'000U);
  for (const char* bad : {"wakeup_us", "wakeup_us=", "wakeup_us=-1", "wakeup_us=1000001", "wakeup_us=on"}) {
    MountOptions options;
    const StatusOrFailure status = parse_mount_options(bad, options);
    ASSERT_FALSE(status.ok()) << bad;
    EXPECT_THAT(status.error().message, HasSubstr("from 0 to 1000000"));
  }
}

TEST(MountOptions, KernelOptionsAreHandedOn) {
  EXPECT_THAT(parse("lowerdir=/a,nodev,noatime,context=x").kernel_options,
              ElementsAre("nodev", "noatime", "context=x"));
}

TEST(MountOptions, TheLastWordOnTimesOfAccessHolds) {
  EXPECT_FALSE(parse("lowerdir=/a").view.keep_access_times);
  EXPECT_TRUE(parse("lowerdir=/a,noatime").view.keep_access_times);
  EXPECT_FALSE(parse("lowerdir=/a,noatime,relatime").view.keep_access_times);
  EXPECT_TRUE(parse("lowerdir=/a,strictatime,noatime,nodiratime").view.keep_access_times);
}

TEST(MountOptions, NumbersAreChecked) {
  EXPECT_EQ(parse("cache_mb=16").view.cache_bytes, std::uint64_t{16} << 20);
  for (const char* bad : {"cache_mb=", "cache_mb=0", "cache_mb=-1", "cache_mb=1x", "threads=100000"}) {
    MountOptions options;
    EXPECT_FALSE(parse_mount_options(bad, options).ok()) << bad;
  }
}

TEST(MountOptions, LowerListAddsAFileOfLayers) {
  const std::string path = ::testing::TempDir() + "/lowers";
  std::ofstream(path) << "/x:y\n/z\n";
  EXPECT_THAT(parse("lowerdir=/a,lowerlist=" + path).view.lower_paths, ElementsAre("/a", "/x:y", "/z"));
}

TEST(MountOptions, AnUpperNeedsAWorkDirectory) {
  EXPECT_FALSE(check_mount_options(parse("lowerdir=/a,upperdir=/u")).ok());
  EXPECT_FALSE(check_mount_options(parse("lowerdir=/a,workdir=/w")).ok());
  EXPECT_FALSE(check_mount_options(parse("ro")).ok());
  EXPECT_TRUE(check_mount_options(parse("lowerdir=/a,upperdir=/u,workdir=/w")).ok());
}

}  // namespace
}  // namespace varve::fuse
