#include "tests/mounted/faults/varvefs_process.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "tests/support/mounted/file_tools.h"

namespace varve::test {
namespace {

constexpr int kSteps = 30'000;  // of 1 ms

int status_of(int wait_status) {
  return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

}  // namespace

testing::AssertionResult VarvefsProcess::start(const std::vector<std::string>& words,
                                               const std::string& mount_point, const char* preload) {
  mount_point_ = mount_point;
  log_ = mount_point + ".log";
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  process_ = ::fork();
  if (process_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);  // a test that crashes leaves no mount
    ::dup2(::open(log_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), 2);
    if (preload != nullptr) ::setenv("LD_PRELOAD", preload, 1);
    ::execv(argv[0], argv.data());
    _exit(127);
  }
  for (int step = 0; step < kSteps; ++step) {
    struct statfs status {};
    if (::statfs(mount_point.c_str(), &status) == 0 && status.f_type == FUSE_SUPER_MAGIC)
      return testing::AssertionSuccess();
    int ended = 0;
    if (::waitpid(process_, &ended, WNOHANG) == process_) {
      process_ = -1;
      return testing::AssertionFailure() << "varvefs ended with " << status_of(ended) << ": " << said();
    }
    ::usleep(1'000);
  }
  return testing::AssertionFailure() << "varvefs did not mount in time: " << said();
}

int VarvefsProcess::end() {
  if (process_ < 0) return 0;
  if (::umount2(mount_point_.c_str(), 0) != 0) ::kill(process_, SIGTERM);
  int status = 0;
  ::waitpid(process_, &status, 0);
  process_ = -1;
  return status_of(status);
}

std::string VarvefsProcess::said() const {
  return read_file(log_);
}

}  // namespace varve::test
