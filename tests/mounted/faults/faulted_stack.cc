#include "tests/mounted/faults/faulted_stack.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <new>
#include <regex>

namespace varve::test {
namespace {

const char* name_of(std::uint32_t call) {
  static constexpr const char* kNames[] = {
      "create", "mkdirat",  "mknodat",    "symlinkat", "linkat",   "unlinkat",    "renameat",  "renameat2",
      "chmod",  "fchmodat", "chownat",    "utimensat", "setxattr", "removexattr", "ftruncate", "fallocate",
      "pwrite", "fsync",    "a stranger", "open",      "fstatat",  "getxattr",    "listxattr"};
  static_assert(std::size(kNames) == kCalls);
  return kNames[call];
}

FaultControl* map_control(const std::string& path) {
  const UniqueFd fd = open_file(path, O_RDWR | O_CREAT);
  if (::ftruncate(fd.get(), sizeof(FaultControl)) != 0) return nullptr;
  void* memory = ::mmap(nullptr, sizeof(FaultControl), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  return memory == MAP_FAILED ? nullptr : new (memory) FaultControl;
}

testing::AssertionResult run_well(const std::vector<std::string>& words) {
  const ProgramResult result = test::run(words);
  if (result.exit_status == 0) return testing::AssertionSuccess();
  return testing::AssertionFailure() << words[0] << ": " << result.err;
}

// In memory, where that holds all xattrs (Linux 6.6): hundreds of mounts sync the file system. What is tried here is the order of
// system calls, which is the same on any.
bool choose_scratch() {
  const std::string probe = "/dev/shm/varve-probe-" + std::to_string(::getpid());
  const UniqueFd fd(::open(probe.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd.valid()) return false;
  const bool good = ::fsetxattr(fd.get(), "user.probe", "1", 1, 0) == 0 &&
                    ::fsetxattr(fd.get(), "trusted.probe", "1", 1, 0) == 0;
  ::unlink(probe.c_str());
  return good && ::setenv("TMPDIR", "/dev/shm", 0) == 0;
}
[[maybe_unused]] const bool kInMemory = choose_scratch();

}  // namespace

FaultedStack::FaultedStack(const Operation& operation)
    : operation_(operation), control_(map_control(stack_.scratch() + "/control")), ready_(prepare()) {}

FaultedStack::~FaultedStack() {
  if (control_ != nullptr) ::munmap(control_, sizeof(FaultControl));
}

testing::AssertionResult FaultedStack::prepare() {
  if (control_ == nullptr) return testing::AssertionFailure() << "no shared memory";
  fill_lowers(stack_);
  if (testing::AssertionResult mounted = stack_.mount(); !mounted) return mounted;
  fill_upper(stack_.mount_point());
  if (operation_.before != nullptr) operation_.before(stack_.mount_point());
  if (testing::AssertionResult ended = stack_.unmount(); !ended) return ended;
  const std::string kept = stack_.scratch() + "/kept";
  make_directories(kept);
  return run_well({"cp", "--archive", stack_.upper(), stack_.work(), kept});
}

testing::AssertionResult FaultedStack::reset() {
  if (stack_.daemon() > 0) {
    if (testing::AssertionResult ended = stack_.unmount(); !ended) return ended;
  }
  const std::string kept = stack_.scratch() + "/kept";
  if (testing::AssertionResult gone = run_well({"rm", "--recursive", stack_.upper(), stack_.work()}); !gone)
    return gone;
  // In one go: the index holds hard links into the upper.
  const testing::AssertionResult copied =
      run_well({"cp", "--archive", kept + "/upper", kept + "/work", stack_.scratch()});
  return copied ? mount() : copied;
}

testing::AssertionResult FaultedStack::mount() {
  ::setenv("VARVE_FAULT_CONTROL", (stack_.scratch() + "/control").c_str(), 1);
  ::setenv("LD_PRELOAD", VARVE_FAULT_POINTS, 1);
  testing::AssertionResult mounted = stack_.mount();
  ::unsetenv("LD_PRELOAD");
  return mounted;
}

testing::AssertionResult FaultedStack::remount() {
  testing::AssertionResult ended = stack_.unmount();
  return ended ? mount() : ended;
}

testing::AssertionResult FaultedStack::mount_after_kill() {
  stack_.kill();
  return mount();
}

void FaultedStack::arm(FaultKind kind, std::uint32_t at, int error, bool looks_count) {
  control_->kind = kind;
  control_->at = at;
  control_->error = error;
  control_->looks_count = looks_count;
  control_->calls = 0;
  control_->hit = 0;
  control_->armed = 1;
}

bool FaultedStack::disarm() {
  control_->armed = 0;
  return control_->hit != 0;
}

std::string FaultedStack::what_was_hit() const {
  if (control_->hit == 0) return "nothing was hit";
  return fmt::format("call {} ({})", control_->at, name_of(control_->hit - 1));
}

Snapshot FaultedStack::tree() const {
  static const std::regex times(" mtime=[0-9.-]+");
  Snapshot lines = snapshot(stack_.mount_point());
  std::map<ino_t, std::string> first_names;
  for (auto& [path, line] : lines) {
    line = std::regex_replace(line, times, "");
    const struct stat status = stat_of(stack_.mount_point() + path);
    const auto [first, added] = first_names.emplace(status.st_ino, path);
    if (!added) line += " as=" + first->second;
  }
  return lines;
}

std::string FaultedStack::leftovers() const {
  const std::string own = stack_.work() + "/varve";
  std::string found;
  for (const std::string& name : names_in(own + "/stage")) found += "stage/" + name + "\n";
  for (const std::string& name : names_in(own + "/index")) {
    if (name.ends_with(".new")) found += "index/" + name + "\n";
  }
  for (const std::string& name : names_in(own)) {
    if (name != "stage" && name != "index" && name != "maps" && name != "state") found += name + "\n";
  }
  for (const std::string& name : names_in(stack_.upper())) {
    if (name.starts_with(".varve")) found += "upper/" + name + "\n";
  }
  return found;
}

std::string unlike_all(const Snapshot& is, const std::vector<Snapshot>& may_be) {
  std::string unlike;
  for (const Snapshot& state : may_be) {
    const std::string unlike_this = differences(state, is);
    if (unlike_this.empty()) return {};
    unlike += "unlike one of the states:\n" + unlike_this;
  }
  return unlike;
}

void OneOperation::learn() {
  ASSERT_TRUE(faulted_.ready());
  ASSERT_TRUE(faulted_.reset());
  states_ = {faulted_.tree()};
  ASSERT_EQ(faulted_.run(), "ok");
  ASSERT_TRUE(faulted_.remount());
  states_.push_back(faulted_.tree());
  ASSERT_NE(differences(states_[0], states_[1]), "") << "the operation does something";
  if (GetParam().between == nullptr) return;
  ASSERT_TRUE(faulted_.reset());
  ASSERT_EQ(faulted_.run_between(), "ok");
  states_.push_back(faulted_.tree());
}

}  // namespace varve::test
