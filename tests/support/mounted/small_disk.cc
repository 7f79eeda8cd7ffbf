#include "tests/support/mounted/small_disk.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "tests/support/mounted/rights.h"

namespace varve::test {

std::string SmallDisk::lack_of(Kind kind) {
  if (kind == Kind::kTmpfs) return {};
  if (std::string lack = test::lack_of(Right::kRootOfHost); !lack.empty()) return lack;
  if (::access("/dev/loop-control", R_OK | W_OK) != 0) return "needs loop devices\n";
  return run({"mkfs.ext4", "-V"}).exit_status == 0 ? "" : "needs mkfs.ext4\n";
}

SmallDisk::SmallDisk(std::int64_t size_pages, const std::string& options, Kind kind) {
  if (kind == Kind::kExt4) {
    mount_ext4(size_pages, options);
    return;
  }
  const std::string all = fmt::format("size={}{}", size_pages * kPageBytes, options);
  if (::mount("none", path().c_str(), "tmpfs", 0, all.c_str()) != 0) {
    ADD_FAILURE() << "mounting a tmpfs on " << path() << ": " << std::strerror(errno);
  }
}

void SmallDisk::mount_ext4(std::int64_t size_pages, const std::string& options) {
  const std::string image = image_.path() + "/image";
  write_file(image, "");
  ASSERT_EQ(outcome(::truncate(image.c_str(), size_pages * kPageBytes)), "ok");
  const ProgramResult made =
      run({"mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-N", "256", "-O", "^has_journal", image});
  ASSERT_EQ(made.exit_status, 0) << made.err;
  const ProgramResult mounted = run({"mount", "-t", "ext4", "-o", "loop" + options, image, path()});
  ASSERT_EQ(mounted.exit_status, 0) << mounted.err;
}

SmallDisk::~SmallDisk() {
  ::umount2(path().c_str(), MNT_DETACH);
}

void SmallDisk::leave(std::int64_t free_pages) {
  const UniqueFd filling = open_file(path() + "/filling", O_CREAT | O_WRONLY);
  // An extent of the file may take a page itself, and ext4 may count pages as free that it has set aside for other files: more than
  // this file can get is not there.
  bool is_full = false;
  for (std::int64_t most_pages = INT64_MAX; !is_full;) {
    ASSERT_EQ(outcome(::syncfs(filling.get())), "ok");
    struct statvfs status {};
    ASSERT_EQ(outcome(::fstatvfs(filling.get(), &status)), "ok");
    const auto more_pages = std::min(static_cast<std::int64_t>(status.f_bavail) - free_pages, most_pages);
    if (more_pages == 0) return;
    const std::int64_t size = stat_of(filling.get()).st_size;
    if (more_pages < 0) {
      ASSERT_GE(size + more_pages * kPageBytes, 0) << "the disk is too full";
      ASSERT_EQ(outcome(::ftruncate(filling.get(), size + more_pages * kPageBytes)), "ok");
      most_pages = 0;
    } else if (::posix_fallocate(filling.get(), size, more_pages * kPageBytes) != 0) {
      most_pages = more_pages / 2;
      is_full = more_pages == 1;
    }
  }
}

void SmallDisk::give_back() {
  ASSERT_EQ(outcome(::truncate((path() + "/filling").c_str(), 0)), "ok");
}

}  // namespace varve::test
