#include "tests/support/mounted/small_disk.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstring>

namespace varve::test {

SmallDisk::SmallDisk(std::int64_t size_pages, const std::string& options) {
  const std::string all = fmt::format("size={}{}", size_pages * kPageBytes, options);
  if (::mount("none", path().c_str(), "tmpfs", 0, all.c_str()) != 0) {
    ADD_FAILURE() << "mounting a tmpfs on " << path() << ": " << std::strerror(errno);
  }
}

SmallDisk::~SmallDisk() {
  ::umount2(path().c_str(), MNT_DETACH);
}

void SmallDisk::leave(std::int64_t free_pages) {
  const UniqueFd filling = open_file(path() + "/filling", O_CREAT | O_WRONLY);
  struct statvfs status {};
  ASSERT_EQ(outcome(::fstatvfs(filling.get(), &status)), "ok");
  const auto more_pages = static_cast<std::int64_t>(status.f_bfree) - free_pages;
  const std::int64_t size = stat_of(filling.get()).st_size;
  if (more_pages > 0) {
    ASSERT_EQ(::posix_fallocate(filling.get(), size, more_pages * kPageBytes), 0);
  } else {
    ASSERT_GE(size + more_pages * kPageBytes, 0) << "the disk is too full";
    ASSERT_EQ(outcome(::ftruncate(filling.get(), size + more_pages * kPageBytes)), "ok");
  }
}

void SmallDisk::give_back() {
  ASSERT_EQ(outcome(::truncate((path() + "/filling").c_str(), 0)), "ok");
}

}  // namespace varve::test
