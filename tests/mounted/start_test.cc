// Starting varvefs as a person does: in the background, with mistakes; what it says and what it leaves
// behind.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "tests/support/mounted/mounted_stack.h"

namespace varve::test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class Start : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"lower", "upper", "work", "mnt"}) make_directories(path(name));
    write_file(path("lower/f"), "content");
  }
  void TearDown() override {
    while (is_mounted() && run({"umount", path("mnt")}).exit_status == 0) {
    }
  }
  std::string path(const std::string& name) const { return scratch.path() + "/" + name; }
  bool is_mounted() const {
    struct statfs status {};
    return ::statfs(path("mnt").c_str(), &status) == 0 && status.f_type == FUSE_SUPER_MAGIC;
  }
  ProgramResult mount(const std::string& options) {
    return run({program("varvefs"), "-o", options, path("mnt")});
  }

  // The promise for every mistake: one line that names what it is about, exit status 1, nothing mounted.
  void expect_refused(const ProgramResult& result, const std::string& named) {
    EXPECT_EQ(result.exit_status, 1);
    EXPECT_THAT(result.err, StartsWith("varvefs: "));
    EXPECT_THAT(result.err, HasSubstr(named));
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_FALSE(is_mounted());
  }

  ScratchDirectory scratch;
};

TEST_F(Start, ReturnsOnceTheMountAnswers) {
  ProgramResult result = mount("lowerdir=" + path("lower"));
  EXPECT_EQ(result.exit_status, 0);
  EXPECT_EQ(result.err, "");
  EXPECT_TRUE(is_mounted());
  EXPECT_EQ(read_file(path("mnt/f")), "content");
}

TEST_F(Start, LogsToAFileThatItMountsOver) {
  ProgramResult result = mount("lowerdir=" + path("lower") + ",logfile=" + path("mnt/log"));
  EXPECT_EQ(result.exit_status, 0) << result.err;
  EXPECT_TRUE(is_mounted());
  EXPECT_EQ(names_in(path("mnt")), std::vector<std::string>{"f"});
  ASSERT_EQ(run({"umount", path("mnt")}).exit_status, 0);
  EXPECT_EQ(names_in(path("mnt")), std::vector<std::string>{"log"});
}

TEST_F(Start, InTheBackgroundHoldsNoOutputOpen) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, 0), 0);
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  pid_t child = ::fork();
  if (child == 0) {
    ::dup2(writer.get(), 1);
    ::dup2(writer.get(), 2);
    ::close(writer.get());
    ::close(reader.get());
    std::string options = "lowerdir=" + path("lower");
    ::execl(program("varvefs").c_str(), "varvefs", "-o", options.c_str(), path("mnt").c_str(), nullptr);
    _exit(127);
  }
  writer.reset();
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  ::alarm(20);  // a daemon that holds the pipe would keep us here
  char byte;
  EXPECT_EQ(::read(reader.get(), &byte, 1), 0) << "end of file: nobody writes there any more";
  ::alarm(0);
  EXPECT_TRUE(is_mounted());
}

TEST_F(Start, UnmountsThroughFusermount) {
  ASSERT_EQ(mount("lowerdir=" + path("lower")).exit_status, 0);
  EXPECT_EQ(run({"fusermount3", "-u", path("mnt")}).exit_status, 0);
  EXPECT_FALSE(is_mounted());
}

TEST_F(Start, WarnsOfUnknownOptionsAndGoesOn) {
  ProgramResult result = mount("lowerdir=" + path("lower") + ",no_such_option=1");
  EXPECT_EQ(result.exit_status, 0);
  EXPECT_THAT(result.err, HasSubstr("no_such_option"));
  EXPECT_TRUE(is_mounted());
}

TEST_F(Start, AcceptsTheOptionsOfOthers) {
  ProgramResult result =
      mount("lowerdir=" + path("lower") + ",upperdir=" + path("upper") + ",workdir=" + path("work") +
            ",,redirect_dir=on,metacopy=off,index=off,xino=auto,noatime,nodev,nosuid,private,");
  EXPECT_EQ(result.exit_status, 0) << result.err;
  EXPECT_TRUE(is_mounted());
}

TEST_F(Start, ExplainsItself) {
  ProgramResult help = run({program("varvefs"), "--help"});
  EXPECT_EQ(help.exit_status, 0);
  EXPECT_THAT(help.out, HasSubstr("lowerdir="));
  ProgramResult version = run({program("varvefs"), "--version"});
  EXPECT_EQ(version.exit_status, 0);
  EXPECT_THAT(version.out, HasSubstr("0.1.0"));
  EXPECT_EQ(run({program("varvefs"), "--no-such-flag"}).exit_status, 2);
  EXPECT_EQ(run({program("varvefs")}).exit_status, 2);
}

TEST_F(Start, EndsBySigtermWhateverSignalsItsStarterBlocked) {
  MountedStack stack;
  sigset_t blocked;
  sigset_t usual;
  ::sigfillset(&blocked);
  ::sigdelset(&blocked, SIGTERM);
  ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, &blocked, &usual), 0);
  const testing::AssertionResult mounted = stack.mount();
  ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, &usual, nullptr), 0);
  ASSERT_TRUE(mounted);
  EXPECT_EQ(stack.terminate(), 0) << stack.log();
  EXPECT_FALSE(stack.is_mounted());
}

TEST_F(Start, RefusesAMissingLower) {
  expect_refused(mount("lowerdir=" + path("absent")), path("absent"));
}

TEST_F(Start, RefusesAMissingLowerBelowGoodOnes) {
  expect_refused(mount("lowerdir=" + path("lower") + ":" + path("absent")), path("absent"));
}

TEST_F(Start, RefusesATextFileAsLayer) {
  write_file(path("text"), "This is no layer, whatever its name.\n");
  expect_refused(mount("lowerdir=" + path("text")), path("text"));
}

TEST_F(Start, RefusesAnEmptyFileAsLayer) {
  write_file(path("empty"), "");
  expect_refused(mount("lowerdir=" + path("empty")), path("empty"));
}

TEST_F(Start, RefusesATruncatedLayer) {
  write_file(path("lower/big"), noise(300'000, 1));
  ASSERT_EQ(run({program("imagetool"), "layer", "build", path("lower"), "-o", path("l.layer")}).exit_status,
            0);
  std::int64_t size = stat_of(path("l.layer")).st_size;
  for (std::int64_t kept : {size - 1, size - 256, size / 2, std::int64_t{100}}) {
    ASSERT_EQ(outcome(::truncate(path("l.layer").c_str(), kept)), "ok");
    expect_refused(mount("lowerdir=" + path("l.layer")), path("l.layer"));
  }
}

TEST_F(Start, RefusesAMissingUpperOrWork) {
  expect_refused(
      mount("lowerdir=" + path("lower") + ",upperdir=" + path("absent") + ",workdir=" + path("work")),
      path("absent"));
  expect_refused(
      mount("lowerdir=" + path("lower") + ",upperdir=" + path("upper") + ",workdir=" + path("absent")),
      path("absent"));
}

TEST_F(Start, RefusesAnUpperWithoutWork) {
  expect_refused(mount("lowerdir=" + path("lower") + ",upperdir=" + path("upper")), "workdir");
}

TEST_F(Start, RefusesAFileAsUpper) {
  expect_refused(
      mount("lowerdir=" + path("lower") + ",upperdir=" + path("lower/f") + ",workdir=" + path("work")),
      path("lower/f"));
}

TEST_F(Start, RefusesAnUnwritableUpper) {
  // Root writes everywhere but on a read-only file system.
  ASSERT_EQ(run({"mount", "--bind", path("upper"), path("upper")}).exit_status, 0);
  ASSERT_EQ(run({"mount", "-o", "remount,bind,ro", path("upper")}).exit_status, 0);
  expect_refused(
      mount("lowerdir=" + path("lower") + ",upperdir=" + path("upper") + ",workdir=" + path("work")),
      path("upper"));
  EXPECT_EQ(run({"umount", path("upper")}).exit_status, 0);
}

TEST_F(Start, RefusesAMissingMountPoint) {
  ProgramResult result = run({program("varvefs"), "-o", "lowerdir=" + path("lower"), path("nowhere")});
  expect_refused(result, path("nowhere"));
}

TEST_F(Start, RefusesADirectoryWithoutPermission) {
  VARVE_NEEDS(kOtherOwners);
  make_directories(path("closed"));
  ASSERT_EQ(outcome(::chmod(path("closed").c_str(), 0700)), "ok");
  ASSERT_EQ(outcome(::chown(path("mnt").c_str(), 65534, 65534)), "ok");
  // An ordinary user may not be able to reach the programs of the build: open them here, run them there.
  UniqueFd binary = open_file(program("varvefs"), O_RDONLY);
  UniqueFd error = open_file(path("error"), O_CREAT | O_WRONLY);
  ProgramResult result;
  result.exit_status = run_as(65534, 65534, [&] {
    ::dup2(::open("/dev/null", O_RDWR), 0);
    ::dup2(error.get(), 1);
    ::dup2(error.get(), 2);
    std::string options = "lowerdir=" + path("closed");
    std::string mount_point = path("mnt");
    char name[] = "varvefs";
    char flag[] = "-o";
    char* argv[] = {name, flag, options.data(), mount_point.data(), nullptr};
    ::execveat(binary.get(), "", argv, environ, AT_EMPTY_PATH);
    return 127;
  });
  result.err = read_file(path("error"));
  expect_refused(result, path("closed"));
}

}  // namespace
}  // namespace varve::test
