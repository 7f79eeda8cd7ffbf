// Owners that are shifted by the mount, and owners that are kept in xattrs of the upper.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/support/mounted/mounted_stack.h"

namespace varve::test {
namespace {

constexpr const char* kShift = "uidmapping=0:100000:65536,gidmapping=0:200000:65536";

class ShiftedOwners : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    VARVE_NEEDS(kRootOfHost);
    VARVE_NEEDS(kPlainUpper);
    write_file(stack.lower(0, "f"), "content");
    write_file(stack.lower(0, "outside"), "content");
    ASSERT_EQ(::lchown(stack.lower(0, "f").c_str(), 5, 6), 0);
    ASSERT_EQ(::lchown(stack.lower(0, "outside").c_str(), 70000, 6), 0);
    ASSERT_TRUE(stack.mount());
  }
  MountedStack stack{StackShape{.lowers = 1, .layer_files = GetParam(), .options = kShift}};
};
INSTANTIATE_TEST_SUITE_P(In, ShiftedOwners, testing::Bool(), lower_kind_name);

TEST_P(ShiftedOwners, AreShownShifted) {
  EXPECT_EQ(stat_of(stack.at("f")).st_uid, 100005u);
  EXPECT_EQ(stat_of(stack.at("f")).st_gid, 200006u);
  EXPECT_EQ(stat_of(stack.at("outside")).st_uid, 65534u);
  EXPECT_EQ(stat_of(stack.at("outside")).st_gid, 200006u);
}

TEST_P(ShiftedOwners, AreStoredAsTheyAreWithin) {
  ASSERT_EQ(::chown(stack.at("f").c_str(), 100009, 200010), 0);
  EXPECT_EQ(stat_of(stack.at("f")).st_uid, 100009u);
  EXPECT_EQ(stat_of(stack.upper("f")).st_uid, 9u);
  EXPECT_EQ(stat_of(stack.upper("f")).st_gid, 10u);
  ASSERT_EQ(::chown(stack.at("f").c_str(), 7, static_cast<gid_t>(-1)), 0);
  EXPECT_EQ(stat_of(stack.upper("f")).st_uid, 65534u);
  EXPECT_EQ(stat_of(stack.upper("f")).st_gid, 10u);
}

TEST_P(ShiftedOwners, ChangeNoFileByMounting) {
  for (int i = 0; i < 50; ++i) write_file(stack.at("d/" + std::to_string(i)), "content");
  ASSERT_TRUE(stack.unmount());
  const Snapshot lower = snapshot(stack.lower(0));
  const Snapshot upper = snapshot(stack.upper());
  const std::int64_t changed = stat_of(stack.upper("d/7")).st_ctim.tv_nsec;
  ASSERT_TRUE(stack.mount());
  EXPECT_EQ(names_in(stack.at("d")).size(), 50U);
  EXPECT_EQ(stat_of(stack.at("d/7")).st_uid, stat_of(stack.at("d/8")).st_uid);
  ASSERT_TRUE(stack.unmount());
  EXPECT_EQ(differences(lower, snapshot(stack.lower(0))), "");
  EXPECT_EQ(differences(upper, snapshot(stack.upper())), "");
  EXPECT_EQ(stat_of(stack.upper("d/7")).st_ctim.tv_nsec, changed);
}

TEST_P(ShiftedOwners, AreThoseOfWhoeverMakesAFile) {
  ASSERT_EQ(::chown(stack.at("").c_str(), 100000, 200000), 0);
  const std::string made = stack.at("made");
  ASSERT_EQ(run_as(100000, 200000, [&] { return ::close(::creat(made.c_str(), 0600)) == 0 ? 0 : errno; }), 0);
  EXPECT_EQ(stat_of(made).st_uid, 100000u);
  EXPECT_EQ(stat_of(stack.upper("made")).st_uid, 0u);
  EXPECT_EQ(stat_of(stack.upper("made")).st_gid, 0u);
  EXPECT_EQ(run_as(100001, 200000, [&] { return ::access(made.c_str(), R_OK) == 0 ? 0 : errno; }), EACCES);
}

TEST_P(ShiftedOwners, CopyUpKeepsWhatIsStored) {
  write_at(stack.at("outside"), 0, "C");
  EXPECT_EQ(stat_of(stack.upper("outside")).st_uid, 70000u);
  ASSERT_TRUE(stack.remount());
  EXPECT_EQ(stat_of(stack.at("outside")).st_uid, 65534u);
}

TEST_P(ShiftedOwners, AccessListsNameTheShiftedIds) {
  ASSERT_EQ(run({"setfacl", "-m", "u:100007:r", stack.at("f")}).exit_status, 0);
  EXPECT_THAT(run({"getfacl", "-n", stack.at("f")}).out, testing::HasSubstr("\nuser:100007:r--\n"));
  EXPECT_THAT(run({"getfacl", "-n", stack.upper("f")}).out, testing::HasSubstr("\nuser:7:r--\n"));
}

TEST(OwnersInXattrs, AreShownAndKept) {
  VARVE_NEEDS(kOtherOwners);
  MountedStack stack(StackShape{.lowers = 1, .options = "xattr_permissions=2"});
  write_file(stack.lower(0, "f"), "content");
  ASSERT_EQ(::lchown(stack.lower(0, "f").c_str(), 5, 6), 0);
  ASSERT_TRUE(stack.mount());
  write_at(stack.at("f"), 0, "C");
  ASSERT_EQ(::chmod(stack.at("f").c_str(), 04711), 0);
  ASSERT_EQ(::symlink("f", stack.at("l").c_str()), 0);
  ASSERT_EQ(::lchown(stack.at("l").c_str(), 8, 9), 0);
  ASSERT_TRUE(stack.remount());
  EXPECT_EQ(stat_of(stack.at("f")).st_mode, S_IFREG | 04711u);
  EXPECT_EQ(stat_of(stack.at("f")).st_uid, 5u);
  EXPECT_EQ(stat_of(stack.upper("f")).st_mode, S_IFREG | 0600u);
  EXPECT_EQ(stat_of(stack.upper("f")).st_uid, 0u);
  EXPECT_EQ(stat_of(stack.at("l")).st_gid, 9u);
  EXPECT_EQ(read_file(stack.at("l")), "Content");
  char value[100];
  EXPECT_EQ(::getxattr(stack.at("f").c_str(), "user.containers.override_stat", value, sizeof value), -1);
  EXPECT_EQ(errno, ENODATA);
}

TEST(OwnersInXattrs, LetDevicesWorkThatAreFiles) {
  VARVE_NEEDS(kRootOfHost);
  MountedStack stack(StackShape{.lowers = 1, .options = "xattr_permissions=2"});
  ASSERT_TRUE(stack.mount());
  ASSERT_EQ(::mknod(stack.at("null").c_str(), S_IFCHR | 0666, makedev(1, 3)), 0);
  ASSERT_TRUE(stack.remount());
  EXPECT_EQ(stat_of(stack.at("null")).st_rdev, makedev(1, 3));
  EXPECT_TRUE(S_ISREG(stat_of(stack.upper("null")).st_mode));
  EXPECT_TRUE(open_file(stack.at("null"), O_RDWR).valid());
}

TEST(OwnersInXattrs, AreReadFromADirectoryAsLayer) {
  VARVE_NEEDS(kOtherOwners);
  MountedStack stack(StackShape{.lowers = 1, .options = "xattr_permissions=2"});
  write_file(stack.lower(0, "l"), "target");
  ASSERT_EQ(
      ::setxattr(stack.lower(0, "l").c_str(), "user.containers.override_stat", "5:6:0777:symlink", 16, 0), 0);
  ASSERT_TRUE(stack.mount());
  EXPECT_TRUE(S_ISLNK(stat_of(stack.at("l")).st_mode));
  EXPECT_EQ(stat_of(stack.at("l")).st_uid, 5u);
  char target[20];
  EXPECT_EQ(::readlink(stack.at("l").c_str(), target, sizeof target), 6);
}

}  // namespace
}  // namespace varve::test
