// Kernels before 6.6 and 6.13 lack the calls that change a mode and xattrs by directory and name: another way is taken there.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <string>

#include "fs/upper/object_path.h"

namespace varve::upper {
namespace {

// From now on fchmodat2, setxattrat, getxattrat, listxattrat and removexattrat are calls that the kernel does not know.
bool forget_new_calls() {
  constexpr unsigned kFchmodat2 = 452;
  constexpr unsigned kSetxattrat = 463;
  constexpr unsigned kRemovexattrat = 466;
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kFchmodat2, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, kSetxattrat, 0, 2),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, kRemovexattrat, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const struct sock_fprog program { .len = std::size(filter), .filter = filter };
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

// What the calls do to an object. Returns: the first step that went wrong; empty: none.
std::string changed(ObjectRef object) {
  struct stat before {};
  if (::fstatat(object.fd, std::string(object.name).c_str(), &before, AT_SYMLINK_NOFOLLOW) != 0)
    return "stat";
  if (S_ISLNK(before.st_mode)) {
    return change_object_mode(object, 0600).ok() ? "the mode of a link was changed" : "";
  }
  if (!change_object_mode(object, 04710).ok()) return "mode";
  const Result<struct stat> after = stat_object(object);
  if (!after.ok() || (after->st_mode & 07777) != 04710) return "mode that arrived";
  if (get_object_xattr(object, "user.note").ok()) return "xattr that nobody set";
  if (!set_object_xattr(object, "user.note", "text").ok()) return "setting an xattr";
  const Result<std::string> value = get_object_xattr(object, "user.note");
  if (!value.ok() || *value != "text") return "reading an xattr";
  const auto names = list_object_xattrs(object);
  if (!names.ok() || names->size() != 1 || names->front() != "user.note") return "listing xattrs";
  if (!remove_object_xattr(object, "user.note").ok()) return "removing an xattr";
  const struct timespec times[2] = {{.tv_sec = 5, .tv_nsec = 6}, {.tv_sec = 7, .tv_nsec = 8}};
  if (!change_object_times(object, times).ok()) return "times";
  const Result<struct stat> timed = stat_object(object);
  return timed.ok() && timed->st_mtim.tv_sec == 7 && timed->st_atim.tv_nsec == 6 ? "" : "times that arrived";
}

class ObjectCalls : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    directory_ = ::testing::TempDir() + "/object_calls_XXXXXX";
    ASSERT_NE(::mkdtemp(directory_.data()), nullptr);
    fd_ = UniqueFd(::open(directory_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(fd_.valid());
    ASSERT_EQ(::symlinkat("file", fd_.get(), "link"), 0);
    ASSERT_TRUE(UniqueFd(::openat(fd_.get(), "file", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600)).valid());
  }
  void TearDown() override {
    ::unlinkat(fd_.get(), "file", 0);
    ::unlinkat(fd_.get(), "link", 0);
    ::rmdir(directory_.c_str());
  }
  // In a process of its own, since a filter is for good.
  std::string outcome(const char* name) {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      const std::string said = GetParam() && !forget_new_calls() ? "no filter" : changed({fd_.get(), name});
      ::_exit(::write(ends[1], said.data(), said.size()) == static_cast<ssize_t>(said.size()) ? 0 : 1);
    }
    ::close(ends[1]);
    std::string said(100, '\0');
    const ssize_t size = ::read(ends[0], said.data(), said.size());
    ::close(ends[0]);
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    said.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
    return said;
  }

  std::string directory_;
  UniqueFd fd_;
};

TEST_P(ObjectCalls, ChangeAFile) {
  EXPECT_EQ(outcome("file"), "");
}

TEST_P(ObjectCalls, DoNotFollowALink) {
  EXPECT_EQ(outcome("link"), "");
}

INSTANTIATE_TEST_SUITE_P(Kernels, ObjectCalls, testing::Bool(),
                         [](const auto& shape) { return shape.param ? "WithoutTheNewCalls" : "AsItIs"; });

}  // namespace
}  // namespace varve::upper
