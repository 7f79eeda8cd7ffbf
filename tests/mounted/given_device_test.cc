// varvefs on /dev/fd/N: whoever starts it has mounted the device that it serves, or is about to.

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "tests/support/mounted/mounted_stack.h"

namespace varve::test {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

constexpr int kGivenFd = 3;

class GivenDevice : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"lower", "upper", "work", "mnt"}) make_directories(path(name));
    write_file(path("lower/f"), "content");
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    ours_.reset(ends[0]);
    theirs_.reset(ends[1]);
  }
  void TearDown() override {
    ours_.reset();
    ::umount2(path("mnt").c_str(), MNT_DETACH);
    if (daemon_ > 0) wait();
  }
  std::string path(const std::string& name) const { return scratch_.path() + "/" + name; }

  // With `given` as its descriptor 3 and as its mount point.
  void start(const UniqueFd& given) {
    const std::string error = path("error");
    const std::string binary = program("varvefs");
    const std::string options =
        fmt::format("lowerdir={},upperdir={},workdir={}", path("lower"), path("upper"), path("work"));
    daemon_ = ::fork();
    ASSERT_GE(daemon_, 0);
    if (daemon_ > 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const UniqueFd log(::open(error.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    ::dup2(log.get(), STDERR_FILENO);
    const int lifted = ::fcntl(given.get(), F_DUPFD_CLOEXEC, 100);
    ::dup2(lifted, kGivenFd);
    ::execl(binary.c_str(), "varvefs", "-f", "-o", options.c_str(),
            fmt::format("/dev/fd/{}", kGivenFd).c_str(), nullptr);
    ::_exit(127);
  }
  // Returns: its exit status, -1 when it was killed.
  int wait() {
    int status = 0;
    ::waitpid(daemon_, &status, 0);
    daemon_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  // Until the upper is in use, half a minute at most.
  void wait_for_upper() {
    for (int step = 0; step < 30'000 && !exists(path("work/varve/state")); ++step) ::usleep(1'000);
  }
  UniqueFd mount_device() {
    UniqueFd device = open_file("/dev/fuse", O_RDWR | O_CLOEXEC);
    const std::string options =
        fmt::format("fd={},rootmode=40000,user_id=0,group_id=0,default_permissions", device.get());
    EXPECT_EQ(outcome(::mount("varvefs", path("mnt").c_str(), "fuse.varvefs", 0, options.c_str())), "ok");
    return device;
  }
  // One message of one byte with these descriptors.
  void send(const std::vector<int>& fds) {
    char byte = 'D';
    struct iovec piece = {&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))] = {};
    struct msghdr header = {};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    if (!fds.empty()) {
      header.msg_control = control;
      header.msg_controllen = CMSG_LEN(fds.size() * sizeof(int));
      struct cmsghdr* attached = CMSG_FIRSTHDR(&header);
      attached->cmsg_level = SOL_SOCKET;
      attached->cmsg_type = SCM_RIGHTS;
      attached->cmsg_len = header.msg_controllen;
      std::memcpy(CMSG_DATA(attached), fds.data(), fds.size() * sizeof(int));
    }
    EXPECT_EQ(::sendmsg(ours_.get(), &header, MSG_NOSIGNAL), 1);
  }
  void expect_serves_until_unmounted() {
    EXPECT_EQ(read_file(path("mnt/f")), "content");
    write_file(path("mnt/g"), "new");
    EXPECT_EQ(read_file(path("upper/g")), "new");
    EXPECT_EQ(outcome(::umount(path("mnt").c_str())), "ok");
    EXPECT_EQ(wait(), 0) << read_file(path("error"));
    EXPECT_EQ(read_file(path("error")), "");
  }
  // One line, exit status 1, and an upper that can be mounted again.
  void expect_refused(const std::string& why) {
    EXPECT_EQ(wait(), 1);
    const std::string said = read_file(path("error"));
    EXPECT_THAT(said, StartsWith(fmt::format("varvefs: mounting: /dev/fd/{}: ", kGivenFd)));
    EXPECT_THAT(said, EndsWith(why + "\n"));
    EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
    EXPECT_THAT(read_file(path("work/varve/state")), HasSubstr("\nstate clean\n"));
  }

  ScratchDirectory scratch_;
  UniqueFd ours_;
  UniqueFd theirs_;
  pid_t daemon_ = -1;
};

TEST_F(GivenDevice, ServesWhatIsMountedAlready) {
  const UniqueFd device = mount_device();
  start(device);
  expect_serves_until_unmounted();
}

TEST_F(GivenDevice, OpensTheUpperBeforeTheDeviceComesThroughTheSocket) {
  start(theirs_);
  theirs_.reset();
  wait_for_upper();
  EXPECT_TRUE(exists(path("work/varve/state")));
  {
    const UniqueFd device = mount_device();
    send({device.get()});
  }
  char byte = 0;
  EXPECT_EQ(::read(ours_.get(), &byte, 1), 0) << "the daemon has closed its end";
  expect_serves_until_unmounted();
}

TEST_F(GivenDevice, EndsWhenTheSocketIsClosedFirst) {
  start(theirs_);
  theirs_.reset();
  wait_for_upper();
  ours_.reset();
  expect_refused("the socket was closed before the device came");
}

TEST_F(GivenDevice, RefusesAMessageWithoutDevice) {
  start(theirs_);
  send({});
  expect_refused("waiting for the device: Bad message");
}

TEST_F(GivenDevice, RefusesTwoDescriptors) {
  start(theirs_);
  send({STDIN_FILENO, STDERR_FILENO});
  expect_refused("waiting for the device: Bad message");
}

}  // namespace
}  // namespace varve::test
