// What only a stack has: the order of layers, whiteouts, opaque directories, merged listings, the form of the
// upper.

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "fs/base/unique_fd.h"
#include "tests/support/mounted/mounted_stack.h"

namespace varve::test {
namespace {

using Names = std::vector<std::string>;

// With lowers as plain directories (false) and as layer files (true).
class Union : public testing::TestWithParam<bool> {
 protected:
  StackShape shape(std::size_t lowers, bool upper = true) {
    return StackShape{.lowers = lowers, .layer_files = GetParam(), .upper = upper};
  }
  void whiteout(const std::string& path) {
    make_directories(path.substr(0, path.rfind('/')));
    ASSERT_EQ(outcome(::mknod(path.c_str(), S_IFCHR, makedev(0, 0))), "ok");
  }
  void opaque(const std::string& directory) {
    make_directories(directory);
    ASSERT_EQ(outcome(::setxattr(directory.c_str(), "trusted.overlay.opaque", "y", 1, 0)), "ok");
  }
};
INSTANTIATE_TEST_SUITE_P(Of, Union, testing::Bool(), lower_kind_name);

bool is_whiteout(const std::string& path) {
  struct stat status = stat_of(path);
  return S_ISCHR(status.st_mode) && status.st_rdev == 0;
}

TEST_P(Union, ShowsTheTopmostObjectOfAName) {
  MountedStack stack(shape(3));
  write_file(stack.lower(0, "all"), "top");
  write_file(stack.lower(1, "all"), "middle");
  write_file(stack.lower(2, "all"), "bottom");
  write_file(stack.lower(1, "two"), "middle");
  write_file(stack.lower(2, "two"), "bottom");
  write_file(stack.lower(2, "one"), "bottom");
  ASSERT_TRUE(stack.mount());
  EXPECT_EQ(read_file(stack.at("all")), "top");
  EXPECT_EQ(read_file(stack.at("two")), "middle");
  EXPECT_EQ(read_file(stack.at("one")), "bottom");
  EXPECT_EQ(names_in(stack.mount_point()), (Names{"all", "one", "two"}));
  write_file(stack.at("two"), "upper");
  EXPECT_EQ(read_file(stack.at("two")), "upper");
  EXPECT_EQ(read_file(stack.upper("two")), "upper");
}

TEST_P(Union, MergesDirectories) {
  MountedStack stack(shape(3));
  write_file(stack.lower(0, "d/a"), "top");
  write_file(stack.lower(1, "d/b"), "middle");
  write_file(stack.lower(2, "d/a"), "bottom");
  write_file(stack.lower(2, "d/sub/c"), "bottom");
  write_file(stack.lower(0, "d/sub/d"), "top");
  ASSERT_TRUE(stack.mount());
  write_file(stack.at("d/e"), "upper");
  EXPECT_EQ(names_in(stack.at("d")), (Names{"a", "b", "e", "sub"}));
  EXPECT_EQ(names_in(stack.at("d/sub")), (Names{"c", "d"}));
  EXPECT_EQ(read_file(stack.at("d/a")), "top");
}

TEST_P(Union, TakesAttributesOfTheTopmostDirectory) {
  MountedStack stack(shape(2));
  make_directories(stack.lower(0, "d"));
  make_directories(stack.lower(1, "d"));
  ASSERT_EQ(outcome(::chmod(stack.lower(0, "d").c_str(), 0700)), "ok");
  ASSERT_EQ(outcome(::chmod(stack.lower(1, "d").c_str(), 0755)), "ok");
  ASSERT_TRUE(stack.mount());
  EXPECT_EQ(stat_of(stack.at("d")).st_mode & 07777U, 0700U);
}

TEST_P(Union, WhiteoutsOfLowersHide) {
  MountedStack stack(shape(3));
  write_file(stack.lower(2, "f"), "bottom");
  write_file(stack.lower(2, "d/g"), "bottom");
  write_file(stack.lower(2, "d/kept"), "bottom");
  whiteout(stack.lower(1, "f"));
  whiteout(stack.lower(1, "d/g"));
  write_file(stack.lower(0, "f"), "anew");
  ASSERT_TRUE(stack.mount());
  EXPECT_EQ(read_file(stack.at("f")), "anew");
  EXPECT_FALSE(exists(stack.at("d/g")));
  EXPECT_EQ(names_in(stack.at("d")), Names{"kept"});
}

TEST_P(Union, AWhiteoutAndANewDirectoryHideWhatIsBelow) {
  MountedStack stack(shape(3));
  write_file(stack.lower(2, "d/old"), "bottom");
  whiteout(stack.lower(1, "d"));
  write_file(stack.lower(0, "d/new"), "top");
  ASSERT_TRUE(stack.mount());
  EXPECT_EQ(names_in(stack.at("d")), Names{"new"});
}

TEST_P(Union, OpaqueDirectoriesOfLowersHide) {
  VARVE_NEEDS(kRootOfHost);
  MountedStack stack(shape(3));
  write_file(stack.lower(2, "d/old"), "bottom");
  opaque(stack.lower(1, "d"));
  write_file(stack.lower(1, "d/middle"), "middle");
  write_file(stack.lower(0, "d/top"), "top");
  ASSERT_TRUE(stack.mount());
  EXPECT_EQ(names_in(stack.at("d")), (Names{"middle", "top"}));
  EXPECT_EQ(read_file(stack.at("d/old")), "<ENOENT>");
}

TEST_P(Union, WhiteoutsInTheFormOfImagesHide) {
  MountedStack stack(shape(2));
  write_file(stack.lower(1, "f"), "bottom");
  write_file(stack.lower(1, "d/old"), "bottom");
  write_file(stack.lower(0, ".wh.f"), "");
  write_file(stack.lower(0, "d/.wh..wh..opq"), "");
  write_file(stack.lower(0, "d/new"), "top");
  ASSERT_TRUE(stack.mount());
  EXPECT_EQ(names_in(stack.mount_point()), Names{"d"});
  EXPECT_EQ(names_in(stack.at("d")), Names{"new"});
}

TEST_P(Union, AFileHidesADirectoryAndTheOtherWayRound) {
  MountedStack stack(shape(3));
  write_file(stack.lower(0, "a"), "file");
  write_file(stack.lower(1, "a/hidden"), "x");
  write_file(stack.lower(0, "b/shown"), "x");
  write_file(stack.lower(1, "b"), "file");
  write_file(stack.lower(2, "b/below-a-file"), "x");
  ASSERT_TRUE(stack.mount());
  EXPECT_EQ(read_file(stack.at("a")), "file");
  EXPECT_EQ(names_in(stack.at("b")), Names{"shown"});
}

TEST_P(Union, DeletionsInMergedDirectoriesHideAllLayers) {
  MountedStack stack(shape(2));
  write_file(stack.lower(0, "d/f"), "top");
  write_file(stack.lower(1, "d/f"), "bottom");
  write_file(stack.lower(1, "d/g"), "bottom");
  ASSERT_TRUE(stack.mount());
  ASSERT_EQ(outcome(::unlink(stack.at("d/f").c_str())), "ok");
  EXPECT_EQ(read_file(stack.at("d/f")), "<ENOENT>");
  ASSERT_EQ(outcome(::unlink(stack.at("d/g").c_str())), "ok");
  ASSERT_EQ(outcome(::rmdir(stack.at("d").c_str())), "ok");
  ASSERT_TRUE(stack.remount());
  EXPECT_EQ(names_in(stack.mount_point()), Names{});
  EXPECT_TRUE(is_whiteout(stack.upper("d")));
}

TEST_P(Union, TheUpperHoldsWhatKernelOverlayfsWouldWrite) {
  VARVE_NEEDS(kRootOfHost);
  MountedStack stack(shape(1));
  write_file(stack.lower(0, "d/f"), "bottom");
  write_file(stack.lower(0, "e/f"), "bottom");
  ASSERT_TRUE(stack.mount());
  ASSERT_EQ(outcome(::unlink(stack.at("d/f").c_str())), "ok");
  ASSERT_EQ(run({"rm", "-r", stack.at("e")}).err, "");
  ASSERT_EQ(outcome(::mkdir(stack.at("e").c_str(), 0755)), "ok");
  write_file(stack.at("new"), "only here");
  ASSERT_EQ(outcome(::unlink(stack.at("new").c_str())), "ok");
  EXPECT_TRUE(is_whiteout(stack.upper("d/f")));
  EXPECT_FALSE(exists(stack.upper("new"))) << "what no layer has needs no whiteout";
  char value[8] = {};
  EXPECT_EQ(::getxattr(stack.upper("e").c_str(), "trusted.overlay.opaque", value, sizeof value), 1);
  EXPECT_STREQ(value, "y");
}

TEST_P(Union, LowersAreNeverChanged) {
  MountedStack stack(shape(2));
  write_file(stack.lower(0, "d/f"), "top");
  write_file(stack.lower(1, "d/g"), noise(100'000, 1));
  ASSERT_TRUE(stack.build_layers());
  Snapshot top_before = snapshot(stack.lower(0));
  Snapshot bottom_before = snapshot(stack.lower(1));
  std::string file_before = GetParam() ? read_file(stack.lower_argument(1)) : "";
  ASSERT_TRUE(stack.mount());
  write_at(stack.at("d/g"), 5000, "changed");
  ASSERT_EQ(outcome(::chmod(stack.at("d/f").c_str(), 0600)), "ok");
  ASSERT_EQ(outcome(::rename(stack.at("d").c_str(), stack.at("e").c_str())), "ok");
  ASSERT_EQ(run({"rm", "-r", stack.at("e")}).err, "");
  ASSERT_TRUE(stack.unmount());
  EXPECT_EQ(differences(top_before, snapshot(stack.lower(0))), "");
  EXPECT_EQ(differences(bottom_before, snapshot(stack.lower(1))), "");
  EXPECT_TRUE(!GetParam() || read_file(stack.lower_argument(1)) == file_before);
}

TEST_P(Union, WithoutAnUpperIsReadOnly) {
  MountedStack stack(shape(2, false));
  write_file(stack.lower(1, "f"), "content");
  ASSERT_TRUE(stack.mount());
  EXPECT_EQ(read_file(stack.at("f")), "content");
  EXPECT_EQ(outcome(::open(stack.at("f").c_str(), O_RDWR)), "EROFS");
  EXPECT_EQ(outcome(::mkdir(stack.at("d").c_str(), 0755)), "EROFS");
  EXPECT_EQ(outcome(::unlink(stack.at("f").c_str())), "EROFS");
  EXPECT_EQ(outcome(::chmod(stack.at("f").c_str(), 0600)), "EROFS");
  EXPECT_TRUE(stack.unmount());
}

TEST_P(Union, StatisticsAreOfTheUpper) {
  MountedStack stack(shape(1));
  ASSERT_TRUE(stack.mount());
  struct statvfs seen {};
  struct statvfs real {};
  ASSERT_EQ(outcome(::statvfs(stack.mount_point().c_str(), &seen)), "ok");
  ASSERT_EQ(outcome(::statvfs(stack.upper().c_str(), &real)), "ok");
  EXPECT_EQ(seen.f_blocks * seen.f_frsize, real.f_blocks * real.f_frsize);
  EXPECT_EQ(seen.f_namemax, 255U);
  EXPECT_GT(seen.f_files, 0U);
}

TEST_P(Union, ShowsTheSameAfterARemount) {
  MountedStack stack(shape(2));
  for (int i = 0; i < 30; ++i) {
    write_file(stack.lower(static_cast<std::size_t>(i % 2), fmt::format("d{}/f{}", i % 5, i)),
               noise(3000, 7));
  }
  ASSERT_TRUE(stack.mount());
  for (int i = 0; i < 30; i += 3) write_at(stack.at(fmt::format("d{}/f{}", i % 5, i)), 1000, "changed");
  ASSERT_EQ(outcome(::unlink(stack.at("d1/f1").c_str())), "ok");
  ASSERT_EQ(outcome(::rename(stack.at("d2").c_str(), stack.at("d1/moved").c_str())), "ok");
  ASSERT_EQ(outcome(::link(stack.at("d3/f3").c_str(), stack.at("linked").c_str())), "ok");
  ASSERT_EQ(outcome(::setxattr(stack.at("d4").c_str(), "user.note", "kept", 4, 0)), "ok");
  auto before = snapshot(stack.mount_point());
  ASSERT_TRUE(stack.remount());
  EXPECT_EQ(differences(before, snapshot(stack.mount_point())), "");
}

TEST_P(Union, InodeNumbersOfDifferentObjectsDiffer) {
  MountedStack stack(shape(3));
  for (std::size_t i = 0; i < 3; ++i) write_file(stack.lower(i, fmt::format("d{}/f{}", i, i)), "x");
  ASSERT_TRUE(stack.mount());
  write_file(stack.at("new"), "x");
  std::vector<ino_t> numbers;
  for (const auto& [path, line] : snapshot(stack.mount_point()))
    numbers.push_back(stat_of(stack.at(path)).st_ino);
  EXPECT_EQ(numbers.size(), 8U);
  std::sort(numbers.begin(), numbers.end());
  EXPECT_EQ(std::adjacent_find(numbers.begin(), numbers.end()), numbers.end());
}

// Each layer holds a descriptor, and more are needed for open files: 1,000 layers under the limit that shells give.
TEST(Stack, OfAThousandLayersMounts) {
  constexpr int kLayers = 1000;
  struct rlimit descriptors {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &descriptors), 0);
  if (descriptors.rlim_max < 2 * kLayers)
    GTEST_SKIP() << "nobody here may have " << 2 * kLayers << " descriptors";
  ScratchDirectory scratch;
  std::string list;
  for (int i = 0; i < kLayers; ++i) {
    const std::string layer = fmt::format("{}/layers/{:04}", scratch.path(), i);
    write_file(fmt::format("{}/d{}/f{:04}", layer, i % 5, i), fmt::format("{}", i));
    write_file(layer + "/same", fmt::format("{}", i));
    list += layer + "\n";
  }
  write_file(scratch.path() + "/list", list);
  for (const char* name : {"mnt", "upper", "work"}) make_directories(scratch.path() + "/" + name);
  const std::string mount_point = scratch.path() + "/mnt";
  const std::string options =
      fmt::format("lowerlist={0}/list,upperdir={0}/upper,workdir={0}/work", scratch.path());
  const ProgramResult mounted =
      run({"sh", "-c", "ulimit -Sn 256; exec \"$0\" \"$@\"", program("varvefs"), "-o", options, mount_point});
  ASSERT_EQ(mounted.exit_status, 0) << mounted.err;
  EXPECT_EQ(names_in(mount_point + "/d3").size(), 200U);
  EXPECT_EQ(read_file(mount_point + "/same"), "0");
  EXPECT_EQ(read_file(mount_point + "/d4/f0999"), "999");
  std::vector<UniqueFd> open;
  for (int i = 0; i < 300; ++i) {
    open.push_back(open_file(fmt::format("{}/d{}/f{:04}", mount_point, i % 5, i), O_RDWR | O_APPEND));
    EXPECT_EQ(::write(open.back().get(), "+", 1), 1) << i << " " << outcome(-1);
  }
  open.clear();
  EXPECT_EQ(read_file(mount_point + "/d4/f0299"), "299+");
  EXPECT_EQ(outcome(::rename((mount_point + "/d3").c_str(), (mount_point + "/moved").c_str())), "ok");
  EXPECT_EQ(names_in(mount_point + "/moved").size(), 200U);
  EXPECT_EQ(run({"umount", mount_point}).exit_status, 0);
}

TEST(Stack, LayersOfBothKindsMix) {
  MountedStack files(StackShape{.lowers = 1, .layer_files = true});
  write_file(files.lower(0, "d/packed"), "packed");
  write_file(files.lower(0, "d/both"), "packed");
  ASSERT_TRUE(files.build_layers());
  ScratchDirectory scratch;
  write_file(scratch.path() + "/lower/d/plain", "plain");
  write_file(scratch.path() + "/lower/d/both", "plain");
  std::string mount_point = scratch.path() + "/mnt";
  make_directories(mount_point);
  ProgramResult mounted =
      run({program("varvefs"), "-o", "lowerdir=" + scratch.path() + "/lower:" + files.lower_argument(0),
           mount_point});
  ASSERT_EQ(mounted.exit_status, 0) << mounted.err;
  EXPECT_EQ(names_in(mount_point + "/d"), (Names{"both", "packed", "plain"}));
  EXPECT_EQ(read_file(mount_point + "/d/both"), "plain");
  EXPECT_EQ(run({"umount", mount_point}).exit_status, 0);
}

TEST(Stack, ColonsAndCommasInPathsAreEscaped) {
  ScratchDirectory scratch;
  write_file(scratch.path() + "/odd:name,with\\all/f", "found");
  std::string mount_point = scratch.path() + "/mnt";
  make_directories(mount_point);
  ProgramResult mounted = run(
      {program("varvefs"), "-o", "lowerdir=" + scratch.path() + "/odd\\:name\\,with\\\\all", mount_point});
  ASSERT_EQ(mounted.exit_status, 0) << mounted.err;
  EXPECT_EQ(read_file(mount_point + "/f"), "found");
  EXPECT_EQ(run({"umount", mount_point}).exit_status, 0);
}

}  // namespace
}  // namespace varve::test
