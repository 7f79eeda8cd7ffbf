#include "fs/format/override_stat.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

namespace varve::format {
namespace {

TEST(OverrideStat, ReadsWhatItWrites) {
  for (const OverrideStat& stat :
       {OverrideStat{0, 0, 04755, 0, 0}, OverrideStat{1, 4294967295U, 0, S_IFLNK, 0},
        OverrideStat{5, 6, 07777, S_IFCHR, makedev(1, 3)},
        OverrideStat{5, 6, 0600, S_IFBLK, makedev(259, 70000)}, OverrideStat{5, 6, 0644, S_IFIFO, 0},
        OverrideStat{5, 6, 0644, S_IFSOCK, 0}}) {
    const std::string text = format_override_stat(stat);
    EXPECT_EQ(parse_override_stat(text), stat) << text;
  }
}

TEST(OverrideStat, IsWrittenAsContainersStorageReadsIt) {
  EXPECT_EQ(format_override_stat({1000, 1001, 0644, 0, 0}), "1000:1001:0644");
  EXPECT_EQ(format_override_stat({0, 0, 0777, S_IFLNK, 0}), "0:0:0777:symlink");
  EXPECT_EQ(format_override_stat({0, 0, 02600, S_IFBLK, makedev(8, 1)}), "0:0:2600:block-8-1");
}

TEST(OverrideStat, ReadsWhatOthersWrite) {
  EXPECT_EQ(parse_override_stat("1:2:755"), (OverrideStat{1, 2, 0755, 0, 0}));
  EXPECT_EQ(parse_override_stat("1:2:0644:file"), (OverrideStat{1, 2, 0644, S_IFREG, 0}));
  EXPECT_EQ(parse_override_stat("1:2:0755:dir"), (OverrideStat{1, 2, 0755, S_IFDIR, 0}));
  EXPECT_EQ(parse_override_stat("1:2:0100644"), (OverrideStat{1, 2, 0644, S_IFREG, 0}));
  EXPECT_EQ(parse_override_stat("1:2:0644:pipe"), (OverrideStat{1, 2, 0644, S_IFIFO, 0}));
}

TEST(OverrideStat, RefusesTheRest) {
  for (const char* text : {"",
                           "1",
                           "1:2",
                           "1:2:",
                           ":2:644",
                           "1:2:648",
                           "-1:2:644",
                           "1:2:0x1ff",
                           " 1:2:644",
                           "1:2:644 ",
                           "1:2:644:",
                           "1:2:644:door",
                           "1:2:644:char",
                           "1:2:644:char-1",
                           "1:2:644:char-1-",
                           "1:2:644:char-1-2-3",
                           "1:2:644:file:more",
                           "4294967296:0:644",
                           "0:0:1000000",
                           "0:0:020644",
                           "0:0:0100644:dir",
                           "1:2:644\n"}) {
    EXPECT_EQ(parse_override_stat(text), std::nullopt) << text;
  }
}

TEST(OverrideStat, OnlyAFileStandsForAnotherType) {
  Attributes file{.mode = S_IFREG | 0600, .size_bytes = 7, .blocks_512 = 8};
  ASSERT_TRUE(apply_override_stat({5, 6, 0777, S_IFLNK, 0}, file));
  EXPECT_EQ(file.mode, S_IFLNK | 0777u);
  EXPECT_EQ(file.uid, 5u);
  EXPECT_EQ(file.gid, 6u);
  EXPECT_EQ(file.size_bytes, 7u);
  Attributes device{.mode = S_IFREG | 0600, .size_bytes = 7, .blocks_512 = 8};
  ASSERT_TRUE(apply_override_stat({5, 6, 0666, S_IFCHR, makedev(1, 3)}, device));
  EXPECT_EQ(device.rdev, makedev(1, 3));
  EXPECT_EQ(device.size_bytes, 0u);
  Attributes directory{.mode = S_IFDIR | 0700, .uid = 1};
  EXPECT_FALSE(apply_override_stat({5, 6, 0644, S_IFREG, 0}, directory));
  EXPECT_EQ(directory.uid, 1u);
  Attributes no_directory{.mode = S_IFREG | 0600};
  EXPECT_FALSE(apply_override_stat({5, 6, 0755, S_IFDIR, 0}, no_directory));
}

}  // namespace
}  // namespace varve::format
