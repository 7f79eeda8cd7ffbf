#include "launcher/outside/daemon.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/unit/launcher/scratch_directory.h"

namespace varve::launcher {
namespace {

UniqueFd some_device() {
  return UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC));
}

// A program that does as `script` says, started as a daemon.
ResultOrFailure<Daemon> start_script(const ScratchDirectory& scratch, const std::string& script,
                                     int lock_fd = -1) {
  const std::string program = scratch.write_file("daemon", "#!/bin/sh\n" + script);
  ::chmod(program.c_str(), 0755);
  return Daemon::start(program, {.lowers = {"/a"}}, {.lock_fd = lock_fd});
}

TEST(DaemonOptions, SeparatorsInPathsAreEscaped) {
  EXPECT_EQ(escape_mount_path("/a:b,c\\d"), "/a\\:b\\,c\\\\d");
}

TEST(DaemonOptions, TopLayerStandsFirst) {
  EXPECT_EQ(daemon_options({.lowers = {"/top", "/bottom"}, .upper = "/u", .work = "/w"}),
            "lowerdir=/top:/bottom,upperdir=/u,workdir=/w");
}

TEST(DaemonOptions, NoUpperIsReadOnly) {
  EXPECT_EQ(daemon_options({.lowers = {"/a"}}), "lowerdir=/a,ro");
}

TEST(Daemon, IsCalledWithItsDescriptorAsMountPoint) {
  const ScratchDirectory scratch;
  auto daemon =
      start_script(scratch, "echo \"$@\" >&2; test -S /proc/self/fd/3 && test ! -e /proc/self/fd/4\n");
  ASSERT_TRUE(daemon.ok()) << daemon.error().message;
  EXPECT_EQ(daemon->wait(10'000), 0);
  EXPECT_EQ(daemon->take_output(), "-f -o lowerdir=/a,ro /dev/fd/3\n");
}

TEST(Daemon, HoldsTheLockWhileItLives) {
  const ScratchDirectory scratch;
  const std::string path = scratch.write_file("lock", "");
  const UniqueFd lock(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  auto daemon = start_script(scratch, "readlink /proc/self/fd/4 >&2\n", lock.get());
  ASSERT_TRUE(daemon.ok()) << daemon.error().message;
  EXPECT_EQ(daemon->wait(10'000), 0);
  EXPECT_EQ(daemon->take_output(), path + "\n");
}

TEST(Daemon, TellsHowItEnded) {
  const ScratchDirectory scratch;
  auto failing = start_script(scratch, "exit 3\n");
  ASSERT_TRUE(failing.ok());
  EXPECT_EQ(failing->wait(10'000), 3);
  auto killed = start_script(scratch, "kill -KILL $$\n");
  ASSERT_TRUE(killed.ok());
  EXPECT_EQ(killed->wait(10'000), 137);
}

// Copies what comes through descriptor 3: one message, or its end.
constexpr const char* kReceiveOne = "head --bytes=1 <&3 | od -An -tx1 >&2\n";

TEST(Daemon, WaitsForTheDevice) {
  const ScratchDirectory scratch;
  auto daemon = start_script(scratch, kReceiveOne);
  ASSERT_TRUE(daemon.ok());
  EXPECT_EQ(daemon->wait(10), std::nullopt);
  EXPECT_FALSE(daemon->has_device());
  daemon->give_device(some_device());
  EXPECT_TRUE(daemon->has_device());
  EXPECT_EQ(daemon->wait(10'000), 0);
  EXPECT_NE(daemon->take_output(), "");
}

TEST(Daemon, CalledOffItEnds) {
  const ScratchDirectory scratch;
  auto daemon = start_script(scratch, kReceiveOne);
  ASSERT_TRUE(daemon.ok());
  daemon->call_off();
  EXPECT_TRUE(daemon->has_ended());
  EXPECT_EQ(daemon->take_output(), "");
  EXPECT_FALSE(daemon->has_device());
}

TEST(Daemon, MissingProgramIsTold) {
  auto daemon = Daemon::start("/nonexistent/varvefs", {.lowers = {"/a"}}, {});
  ASSERT_TRUE(daemon.ok()) << daemon.error().message;
  EXPECT_EQ(daemon->wait(10'000), 127);
  EXPECT_EQ(daemon->take_output(), "cannot be started: No such file or directory\n");
}

}  // namespace
}  // namespace varve::launcher
