// What lasts: completed writes over a kill of the daemon, one mount at a time, clean ends.

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
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

// A program that numbers its blocks, syncs each write, and notes in another file system what has been acknowledged.
class SyncingWriter {
 public:
  static constexpr std::size_t kBlocks = 100;
  static constexpr std::size_t kBlockBytes = 3000;  // not the blocks of the copy-on-write

  // What a block says once version `version` was written.
  static std::string block(std::size_t number, std::uint32_t version) {
    std::string text = fmt::format("block {} version {:08} ", number, version);
    text.resize(kBlockBytes, static_cast<char>('a' + version % 26));
    return text;
  }

  // Runs in a child process until a write or a sync fails.
  [[noreturn]] static void write_until_refused(const std::string& path, int log, std::uint32_t version) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    for (;; ++version) {
      const std::size_t number = version * 37 % kBlocks;
      const std::string text = block(number, version);
      const auto at = static_cast<off_t>(number * kBlockBytes);
      if (::pwrite(fd, text.data(), text.size(), at) != static_cast<ssize_t>(text.size())) break;
      if (::fsync(fd) != 0) break;
      if (::pwrite(log, &version, sizeof version, 0) != sizeof version) break;
    }
    ::_exit(0);
  }
};

TEST(Kill, InTheMiddleOfASyncingWriterLosesNothingAcknowledged) {
  MountedStack stack(StackShape{.lowers = 1, .layer_files = true});
  std::string content;
  for (std::size_t i = 0; i < SyncingWriter::kBlocks; ++i) content += SyncingWriter::block(i, 0);
  write_file(stack.lower(0, "f"), content);
  write_file(stack.scratch() + "/acknowledged", std::string(sizeof(std::uint32_t), '\0'));
  ASSERT_TRUE(stack.mount());
  const UniqueFd log = open_file(stack.scratch() + "/acknowledged", O_RDWR);
  std::uint32_t acknowledged = 0;
  for (int round = 0; round < 50; ++round) {
    const pid_t writer = ::fork();
    if (writer == 0) SyncingWriter::write_until_refused(stack.at("f"), log.get(), acknowledged + 1);
    ::usleep(static_cast<useconds_t>(5'000 + round * 1'700 % 40'000));
    stack.kill();
    ASSERT_EQ(::waitpid(writer, nullptr, 0), writer);
    const std::uint32_t before = acknowledged;
    ASSERT_EQ(::pread(log.get(), &acknowledged, sizeof acknowledged, 0), ssize_t{sizeof acknowledged});
    ASSERT_GE(acknowledged, before);
    ASSERT_TRUE(stack.mount()) << "round " << round << ": no repair is needed";
    for (std::uint32_t version = before + 1; version <= acknowledged; ++version) {
      const std::size_t number = version * 37 % SyncingWriter::kBlocks;
      content.replace(number * SyncingWriter::kBlockBytes, SyncingWriter::kBlockBytes,
                      SyncingWriter::block(number, version));
    }
    const std::string found = read_file(stack.at("f"));
    // The write that was under way is there, or not, in each of its copy-on-write blocks.
    std::string with_last = content;
    const std::size_t last = (acknowledged + 1) * 37 % SyncingWriter::kBlocks * SyncingWriter::kBlockBytes;
    with_last.replace(last, SyncingWriter::kBlockBytes,
                      SyncingWriter::block(last / SyncingWriter::kBlockBytes, acknowledged + 1));
    ASSERT_EQ(found.size(), content.size());
    for (std::size_t at = 0; at < found.size(); at += 4096) {
      const std::string is = found.substr(at, 4096);
      ASSERT_TRUE(is == content.substr(at, 4096) || is == with_last.substr(at, 4096))
          << "round " << round << ", offset " << at << ", acknowledged " << acknowledged;
    }
    content = found;
  }
  EXPECT_GT(acknowledged, 50U) << "the writer came to do something";
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

// Nothing but the upper or but the work directory in common with a mount: a new one of either is not enough.
TEST(SecondMount, OfTheSameUpperOrTheSameWorkDirectoryIsRefused) {
  MountedStack stack(StackShape{.lowers = 1});
  ASSERT_TRUE(stack.mount());
  for (const char* name : {"other", "upper-2", "work-2"}) make_directories(stack.scratch() + "/" + name);
  const auto mount = [&stack](const std::string& upper, const std::string& work) {
    return run({program("varvefs"), "-o",
                "lowerdir=" + stack.lower(0) + ",upperdir=" + upper + ",workdir=" + work,
                stack.scratch() + "/other"});
  };
  const std::string holder = std::to_string(stack.daemon());
  const ProgramResult same_upper = mount(stack.upper(), stack.scratch() + "/work-2");
  EXPECT_EQ(same_upper.exit_status, 1);
  EXPECT_THAT(same_upper.err, testing::AllOf(testing::HasSubstr(stack.upper()), testing::HasSubstr(holder)));
  const ProgramResult same_work = mount(stack.scratch() + "/upper-2", stack.work());
  EXPECT_EQ(same_work.exit_status, 1);
  EXPECT_THAT(same_work.err, testing::HasSubstr(stack.work()));
  EXPECT_EQ(stat_of(stack.scratch() + "/other").st_dev, stat_of(stack.scratch()).st_dev)
      << "nothing is mounted";
  write_file(stack.at("f"), "the first goes on");
  EXPECT_EQ(read_file(stack.at("f")), "the first goes on");
  ASSERT_TRUE(stack.unmount());
  EXPECT_EQ(mount(stack.scratch() + "/upper-2", stack.work()).exit_status, 1)
      << "it belongs to another upper";
}

// A layer that continues in others, over a layer that is none of them.
TEST(Layer, OverAnotherBaseThanItsOwnFailsTheMount) {
  MountedStack stack(StackShape{.lowers = 3, .layer_files = true});
  const std::string content = noise(2'000'000, 1);
  write_file(stack.lower(1, "f"), content);
  write_file(stack.lower(2, "f"), content + "of a stranger");
  const std::string changed = "changed" + content.substr(7);
  write_file(stack.lower(0, "f"), changed);
  for (const int base : {1, 2}) {
    ASSERT_EQ(
        run({program("imagetool"), "layer", "build", stack.lower(base), "-o", stack.lower_argument(base)})
            .err,
        "");
  }
  ASSERT_EQ(run({program("imagetool"), "layer", "build", stack.lower(0), "-o", stack.lower_argument(0),
                 "--parent", stack.lower_argument(1)})
                .err,
            "");
  const auto mount = [&stack](std::size_t base) {
    return run({program("varvefs"), "-o",
                "lowerdir=" + stack.lower_argument(0) + ":" + stack.lower_argument(base),
                stack.mount_point()});
  };
  const ProgramResult wrong = mount(2);
  EXPECT_EQ(wrong.exit_status, 1);
  EXPECT_THAT(wrong.err, testing::HasSubstr(stack.lower_argument(0)));
  EXPECT_FALSE(stack.is_mounted());
  const ProgramResult right = mount(1);
  ASSERT_EQ(right.exit_status, 0) << right.err;
  EXPECT_TRUE(read_file(stack.at("f")) == changed);
  EXPECT_EQ(run({"umount", stack.mount_point()}).exit_status, 0);
}

// As -o volatile and -o fsync=volatile, which are the same.
class Volatile : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { write_file(stack.lower(0, "f"), "content"); }
  MountedStack stack{StackShape{.lowers = 1, .options = GetParam()}};
};
INSTANTIATE_TEST_SUITE_P(By, Volatile, testing::Values("volatile", "fsync=volatile"),
                         [](const auto& spelling) {
                           return std::string(spelling.param) == "volatile" ? "Word" : "Fsync";
                         });

TEST_P(Volatile, UpperIsTakenAgainAfterACleanUnmount) {
  ASSERT_TRUE(stack.mount());
  write_at(stack.at("f"), 0, "C");
  EXPECT_EQ(outcome(::fsync(open_file(stack.at("f"), O_RDWR).get())), "ok");
  ASSERT_TRUE(stack.remount());
  EXPECT_EQ(read_file(stack.at("f")), "Content");
}

TEST_P(Volatile, UpperThatWasNotUnmountedIsRefused) {
  ASSERT_TRUE(stack.mount());
  write_at(stack.at("f"), 0, "C");
  stack.kill();
  const std::string options =
      "lowerdir=" + stack.lower(0) + ",upperdir=" + stack.upper() + ",workdir=" + stack.work();
  for (const std::string how : {"", ",fsync=strict", ",fsync=auto", ",volatile"}) {
    const ProgramResult refused = run({program("varvefs"), "-o", options + how, stack.mount_point()});
    EXPECT_EQ(refused.exit_status, 1) << how;
    EXPECT_THAT(refused.err,
                testing::AllOf(testing::HasSubstr(stack.upper()), testing::HasSubstr("volatile")))
        << how;
    EXPECT_FALSE(stack.is_mounted()) << how;
  }
}

class Durable : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(By, Durable, testing::Values("fsync=strict", "fsync=auto"),
                         [](const auto& spelling) { return std::string(spelling.param).substr(6); });

TEST_P(Durable, UpperIsTakenAgainAfterAKill) {
  MountedStack stack(StackShape{.lowers = 1, .options = GetParam()});
  write_file(stack.lower(0, "f"), "content");
  ASSERT_TRUE(stack.mount());
  write_at(stack.at("f"), 0, "C");
  stack.kill();
  ASSERT_TRUE(stack.mount());
  EXPECT_EQ(read_file(stack.at("f")), "Content");
}

}  // namespace
}  // namespace varve::test
