#include "launcher/inside/process.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/unit/launcher/scratch_directory.h"

namespace varve::launcher {
namespace {

TEST(FindProgram, FirstDirectoryOfPathWins) {
  const ScratchDirectory scratch;
  for (const char* directory : {"a", "b"}) {
    scratch.make_directory(directory);
    ::chmod(scratch.write_file(std::string(directory) + "/tool", "").c_str(), 0755);
  }
  EXPECT_EQ(*find_program("tool", "/nonexistent:" + scratch.path() + "/b:" + scratch.path() + "/a"),
            scratch.path() + "/b/tool");
}

TEST(FindProgram, WordWithASlashIsNotSearched) {
  EXPECT_EQ(*find_program("./tool", "/bin"), "./tool");
}

TEST(FindProgram, FileThatCannotBeExecutedIsTold) {
  const ScratchDirectory scratch;
  ::chmod(scratch.write_file("tool", "").c_str(), 0644);
  EXPECT_EQ(find_program("tool", scratch.path()).error().value, EACCES);
}

TEST(FindProgram, DirectoryIsNoProgram) {
  const ScratchDirectory scratch;
  scratch.make_directory("tool");
  EXPECT_EQ(find_program("tool", scratch.path()).error().value, ENOENT);
}

TEST(FindProgram, NothingIsFoundNowhere) {
  EXPECT_EQ(find_program("tool", "").error().value, ENOENT);
  EXPECT_EQ(find_program("", "/bin").error().value, ENOENT);
}

}  // namespace
}  // namespace varve::launcher
