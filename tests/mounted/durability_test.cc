// What lasts: completed writes over a kill of the daemon, one mount at a time, clean ends.

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "tests/support/mounted/mounted_stack.h"

namespace varve::test {
namespace {

TEST(Kill, LosesNoCompletedWrite) {
  MountedStack stack(StackShape{.lowers = 1, .layer_files = true});
  std::string content = noise(200'000, 1);
  write_file(stack.lower(0, "f"), content);
  write_file(stack.lower(0, "d/g"), "g");
  ASSERT_TRUE(stack.mount());
  for (int round = 0; round < 3; ++round) {
    std::string words = fmt::format("round {}", round);
    std::size_t offset = static_cast<std::size_t>(round) * 60'000 + 4090;
    write_at(stack.at("f"), static_cast<std::int64_t>(offset), words);
    content.replace(offset, words.size(), words);
    write_file(stack.at(fmt::format("new-{}", round)), words);
    stack.kill();
    ASSERT_TRUE(stack.mount()) << "the next mount needs no repair by hand";
    EXPECT_TRUE(read_file(stack.at("f")) == content) << "round " << round;
    EXPECT_EQ(read_file(stack.at(fmt::format("new-{}", round))), words);
  }
}

TEST(Kill, KeepsRenamesDeletionsAndAttributes) {
  MountedStack stack(StackShape{.lowers = 1});
  for (const char* name : {"d/a", "d/b", "e/c", "gone", "moved"}) write_file(stack.lower(0, name), name);
  ASSERT_EQ(outcome(::link(stack.lower(0, "d/a").c_str(), stack.lower(0, "hard").c_str())), "ok");
  ASSERT_TRUE(stack.mount());
  ASSERT_EQ(outcome(::rename(stack.at("d").c_str(), stack.at("renamed").c_str())), "ok");
  ASSERT_EQ(outcome(::unlink(stack.at("gone").c_str())), "ok");
  ASSERT_EQ(outcome(::rename(stack.at("moved").c_str(), stack.at("e/moved").c_str())), "ok");
  ASSERT_EQ(run({"rm", "-r", stack.at("renamed/b")}).err, "");
  write_at(stack.at("hard"), 0, "D/A");
  ASSERT_EQ(outcome(::chmod(stack.at("e").c_str(), 0700)), "ok");
  ASSERT_EQ(outcome(::truncate(stack.at("e/c").c_str(), 1)), "ok");
  auto before = snapshot(stack.mount_point());
  stack.kill();
  ASSERT_TRUE(stack.mount());
  EXPECT_EQ(differences(before, snapshot(stack.mount_point())), "");
  EXPECT_EQ(read_file(stack.at("renamed/a")), "D/A");
}

TEST(Kill, LeavesAFileOpenForWritingWhole) {
  MountedStack stack(StackShape{.lowers = 1});
  std::string content = noise(100'000, 2);
  write_file(stack.lower(0, "f"), content);
  ASSERT_TRUE(stack.mount());
  UniqueFd fd = open_file(stack.at("f"), O_RDWR);
  ASSERT_EQ(::pwrite(fd.get(), "first", 5, 50'000), 5);
  ASSERT_EQ(outcome(::ftruncate(fd.get(), 80'000)), "ok");
  stack.kill();
  EXPECT_LT(::pwrite(fd.get(), "second", 6, 0), 0) << "the daemon is dead";
  fd.reset();
  content.replace(50'000, 5, "first");
  ASSERT_TRUE(stack.mount());
  EXPECT_TRUE(read_file(stack.at("f")) == content.substr(0, 80'000));
}

TEST(Termination, UnmountsCleanly) {
  MountedStack stack;
  write_file(stack.lower(0, "f"), "content");
  ASSERT_TRUE(stack.mount());
  write_at(stack.at("f"), 0, "C");
  EXPECT_EQ(stack.terminate(), 0) << stack.log();
  EXPECT_FALSE(stack.is_mounted());
  ASSERT_TRUE(stack.mount());
  EXPECT_EQ(read_file(stack.at("f")), "Content");
}

TEST(SecondMount, OfTheSameUpperIsRefusedAndNamesTheHolder) {
  MountedStack stack;
  ASSERT_TRUE(stack.mount());
  std::string other = stack.scratch() + "/other";
  make_directories(other);
  std::vector<std::string> words = stack.command();
  words.back() = other;
  words.erase(words.begin() + 1);  // -f
  ProgramResult second = run(words);
  EXPECT_EQ(second.exit_status, 1);
  EXPECT_THAT(second.err, testing::HasSubstr(std::to_string(stack.daemon())));
  EXPECT_EQ(stat_of(other).st_dev, stat_of(stack.scratch()).st_dev) << "nothing is mounted";
  ASSERT_TRUE(stack.remount()) << "a holder that ended holds nothing";
}

TEST(SecondMount, OverOtherLayersIsRefused) {
  MountedStack stack(StackShape{.lowers = 1});
  ASSERT_TRUE(stack.mount());
  ASSERT_TRUE(stack.unmount());
  make_directories(stack.scratch() + "/stranger");
  ProgramResult second =
      run({program("varvefs"), "-o",
           "lowerdir=" + stack.scratch() + "/stranger,upperdir=" + stack.upper() + ",workdir=" + stack.work(),
           stack.mount_point()});
  EXPECT_EQ(second.exit_status, 1);
  EXPECT_THAT(second.err, testing::HasSubstr(stack.upper()));
  EXPECT_FALSE(stack.is_mounted());
}

}  // namespace
}  // namespace varve::test
