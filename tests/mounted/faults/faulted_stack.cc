#include "tests/mounted/faults/faulted_stack.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <map>
#include <new>

#include "tests/support/mounted/in_memory.h"
#include "tests/support/stride.h"

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

// What is tried here is the order of system calls, which is the same on any file system.
[[maybe_unused]] const bool kInMemory = work_in_memory();

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
  // Together: the index holds hard links into the upper.
  kept_ = std::make_unique<KeptTrees>(std::vector<std::string>{stack_.upper(), stack_.work()});
  return testing::AssertionSuccess();
}

testing::AssertionResult FaultedStack::reset() {
  if (stack_.daemon() > 0) {
    if (testing::AssertionResult ended = stack_.unmount(); !ended) return ended;
  }
  const testing::AssertionResult brought_back = kept_->bring_back();
  return brought_back ? mount() : brought_back;
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
  Snapshot lines = snapshot(stack_.mount_point());
  std::map<ino_t, std::string> first_names;
  for (auto& [path, line] : lines) {
    const std::size_t time = line.find(" mtime=");
    line.erase(time, line.find(' ', time + 1) - time);
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
  faulted_.arm(FaultKind::kNone, 0);
  ASSERT_EQ(faulted_.run(), "ok");
  faulted_.disarm();
  calls_ = faulted_.control().calls;
  ASSERT_GE(calls_, 1U) << "the interposer sees what the operation does";
  ASSERT_TRUE(faulted_.remount());
  states_.push_back(faulted_.tree());
  ASSERT_NE(differences(states_[0], states_[1]), "") << "the operation does something";
  if (GetParam().between == nullptr) return;
  ASSERT_TRUE(faulted_.reset());
  ASSERT_EQ(faulted_.run_between(), "ok");
  states_.push_back(faulted_.tree());
}

std::uint32_t OneOperation::number() {
  const std::vector<Operation> all = all_operations();
  const auto is_this = [](const Operation& one) { return one.name == GetParam().name; };
  return static_cast<std::uint32_t>(std::find_if(all.begin(), all.end(), is_this) - all.begin());
}

// The last of the calls that were counted may be one after the reply, which does not come each time.
std::uint32_t OneOperation::first_call() const {
  return 1 + number() % std::min(stride(), std::max(2U, calls_) - 1);
}

std::uint32_t OneOperation::last_call() const {
  return stride() == 1 ? std::numeric_limits<std::uint32_t>::max() : calls_;
}

}  // namespace varve::test
