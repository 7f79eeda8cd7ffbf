#include "tests/support/mounted/mounted_stack.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace varve::test {
namespace {

constexpr int kWaitStepMicroseconds = 1'000;
constexpr int kWaitSteps = 30'000;  // 30 s: a sanitized daemon on a busy machine starts slowly

bool answers_as_fuse(const std::string& path) {
  struct statfs status {};
  return ::statfs(path.c_str(), &status) == 0 && status.f_type == FUSE_SUPER_MAGIC;
}

}  // namespace

const char* why_no_mounts() {
  if (::geteuid() != 0) return "mounted tests set owners and device nodes, which only root may";
  if (::access("/dev/fuse", R_OK | W_OK) != 0) return "there is no usable /dev/fuse here";
  return nullptr;
}

std::string program(std::string_view name) {
  const char* directory = ::getenv("VARVE_BIN");
  return fmt::format("{}/{}", directory != nullptr ? directory : VARVE_TEST_BIN, name);
}

MountedStack::MountedStack(StackShape shape) : shape_(std::move(shape)) {
  for (std::size_t i = 0; i < shape_.lowers; ++i) make_directories(lower(i));
  make_directories(upper());
  make_directories(work());
  make_directories(mount_point());
}

MountedStack::~MountedStack() {
  // Ended in order, not killed: what a sanitizer found may show only in the exit status.
  if (daemon_ > 0) {
    EXPECT_EQ(terminate(), 0) << "varvefs did not end well";
  }
  if (::testing::Test::HasFailure()) fmt::print(stderr, "log of varvefs:\n{}\n", log());
  if (daemon_ > 0) kill();
  while (::umount2(mount_point().c_str(), MNT_DETACH) == 0) {
  }
}

std::string MountedStack::lower(std::size_t index, std::string_view path) const {
  std::string directory = fmt::format("{}/lower-{}", scratch_.path(), index);
  return path.empty() ? directory : directory + "/" + std::string(path);
}

std::string MountedStack::lower_argument(std::size_t index) const {
  return shape_.layer_files ? lower(index) + ".layer" : lower(index);
}

std::string MountedStack::upper(std::string_view path) const {
  std::string directory = (shape_.writable.empty() ? scratch_.path() : shape_.writable) + "/upper";
  return path.empty() ? directory : directory + "/" + std::string(path);
}

std::string MountedStack::work() const {
  return (shape_.writable.empty() ? scratch_.path() : shape_.writable) + "/work";
}
std::string MountedStack::mount_point() const {
  return scratch_.path() + "/mnt";
}

std::vector<std::string> MountedStack::command() const {
  std::string options = "lowerdir=";
  for (std::size_t i = 0; i < shape_.lowers; ++i) options += (i > 0 ? ":" : "") + lower_argument(i);
  if (shape_.upper) options += ",upperdir=" + upper() + ",workdir=" + work();
  if (const char* more = ::getenv("VARVE_TEST_MOUNT_OPTIONS")) options += std::string(",") + more;
  // Last, for the last word holds.
  if (!shape_.options.empty()) options += "," + shape_.options;
  return {program("varvefs"), shape_.debug ? "-d" : "-f", "-o", options, mount_point()};
}

testing::AssertionResult MountedStack::build_layers() {
  for (std::size_t i = 0; shape_.layer_files && i < shape_.lowers; ++i) {
    if (exists(lower_argument(i))) continue;
    ProgramResult built = run({program("imagetool"), "layer", "build", lower(i), "-o", lower_argument(i)});
    if (built.exit_status != 0) {
      return testing::AssertionFailure()
             << "imagetool layer build: status " << built.exit_status << ": " << built.err;
    }
  }
  return testing::AssertionSuccess();
}

testing::AssertionResult MountedStack::mount() {
  if (testing::AssertionResult built = build_layers(); !built) return built;
  std::vector<std::string> words = command();
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::string log_path = scratch_.path() + "/log";
  daemon_ = ::fork();
  if (daemon_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);  // a test that crashes leaves no mount
    int log_fd = ::open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    ::dup2(::open("/dev/null", O_RDWR | O_CLOEXEC), 0);
    ::dup2(log_fd, 1);
    ::dup2(log_fd, 2);
    ::execv(argv[0], argv.data());
    _exit(127);
  }
  for (int step = 0; step < kWaitSteps; ++step) {
    if (answers_as_fuse(mount_point())) return testing::AssertionSuccess();
    int status = 0;
    if (::waitpid(daemon_, &status, WNOHANG) == daemon_) {
      daemon_ = -1;
      return testing::AssertionFailure()
             << "varvefs ended before it mounted (wait status " << status << "): " << log();
    }
    ::usleep(kWaitStepMicroseconds);
  }
  return testing::AssertionFailure() << "varvefs did not mount in time: " << log();
}

bool MountedStack::is_mounted() const {
  return answers_as_fuse(mount_point());
}

int MountedStack::wait_for_daemon() {
  for (int step = 0; step < kWaitSteps; ++step) {
    int status = 0;
    pid_t ended = ::waitpid(daemon_, &status, WNOHANG);
    if (ended == daemon_) {
      daemon_ = -1;
      return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    }
    ::usleep(kWaitStepMicroseconds);
  }
  return -1;
}

testing::AssertionResult MountedStack::unmount() {
  if (::umount2(mount_point().c_str(), 0) != 0) {
    return testing::AssertionFailure() << "unmounting: " << std::strerror(errno);
  }
  int status = wait_for_daemon();
  if (status != 0)
    return testing::AssertionFailure() << "varvefs ended with status " << status << ": " << log();
  return testing::AssertionSuccess();
}

testing::AssertionResult MountedStack::remount() {
  testing::AssertionResult unmounted = unmount();
  return unmounted ? mount() : unmounted;
}

void MountedStack::kill() {
  ::kill(daemon_, SIGKILL);
  wait_for_daemon();
  ::umount2(mount_point().c_str(), MNT_DETACH);
}

int MountedStack::terminate() {
  ::kill(daemon_, SIGTERM);
  return wait_for_daemon();
}

std::string lower_kind_name(const testing::TestParamInfo<bool>& layer_files) {
  return layer_files.param ? "LayerFiles" : "Directories";
}

}  // namespace varve::test
