// The promises of a cow file under faults, tried at every single I/O operation of many scripts: an error, a
// kill, and a power loss each leave every block as it was or as it became.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "fs/base/log.h"
#include "fs/upper/cow/cow_file_impl.h"
#include "tests/support/fault_block_file.h"
#include "tests/support/memory_lower_file.h"
#include "tests/support/stride.h"

namespace varve::upper {
namespace {

using varve::testing::base_bytes;
using varve::testing::FaultDisk;
using varve::testing::MemoryLowerFile;

using Bytes = std::vector<std::byte>;
constexpr std::size_t kBlock = kBlockSizeBytes;
constexpr std::size_t kBaseSize = 5 * kBlock + 1000;
constexpr std::size_t kMaxSize = 8 * kBlock;

// A store with one file, on a simulated disk.
class FaultHost final : public CowHost {
 public:
  FaultHost(FaultDisk& disk, bool is_volatile) : disk_(disk), volatile_(is_volatile) {
    auto data = disk_.open("data");
    EXPECT_TRUE(data->truncate(kBaseSize).ok());
    EXPECT_TRUE(data->sync(false).ok());
    disk_.set_flag("data", true);  // the base mark
    EXPECT_TRUE(disk_.sync_names().ok());
  }

  const BootId& boot_id() const override { return boot_id_; }
  bool is_volatile() const override { return volatile_; }
  Result<std::unique_ptr<block::BlockFile>> open_map(std::uint64_t, int) override {
    if (!disk_.exists("map")) return std::unique_ptr<block::BlockFile>();
    return disk_.open("map");
  }
  Result<std::unique_ptr<block::BlockFile>> make_map(std::uint64_t, int) override {
    return disk_.open("map");
  }
  Status sync_map_names() override { return disk_.sync_names(); }
  Result<bool> has_map(std::uint64_t) const override { return disk_.exists("map"); }
  Status delete_map(int, std::uint64_t) override { return disk_.remove("map"); }
  Status drop_base_mark(int, std::uint64_t) override {
    return mark_error == 0 ? disk_.clear_flag("data") : Status(Errno{mark_error});
  }
  void cow_file_opened(CowFile&, std::uint64_t) override {}
  void cow_file_closed(CowFile&, std::uint64_t, bool) override {}

  void reboot() { ++boot_id_[0]; }
  int mark_error = 0;  // of what has to be noted before the base mark goes
  Result<std::unique_ptr<CowFileImpl>> open() {
    CowParts parts;
    parts.host = this;
    parts.data = disk_.open("data");
    parts.map_id = 77;
    if (disk_.flag("data")) {
      parts.base_size_bytes = kBaseSize;
      parts.base = std::make_unique<MemoryLowerFile>(base_bytes(kBaseSize));
    }
    return CowFileImpl::assemble(std::move(parts));
  }

 private:
  FaultDisk& disk_;
  const bool volatile_;
  BootId boot_id_{1};
};

struct Step {
  enum class Kind : std::uint8_t { kWrite, kTruncate, kPunch, kZero, kZeroKeep, kAllocate, kSync, kReopen };
  Kind kind = Kind::kWrite;
  std::size_t offset = 0;
  std::size_t size = 0;
  std::byte value{};
};

std::string describe(const std::vector<Step>& script) {
  constexpr const char* kNames[] = {"write",     "truncate", "punch", "zero",
                                    "zero-keep", "allocate", "sync",  "reopen"};
  std::string text;
  for (const Step& step : script) {
    text += std::string(kNames[static_cast<int>(step.kind)]) + "(" + std::to_string(step.offset) + "," +
            std::to_string(step.size) + ") ";
  }
  return text;
}

std::vector<Step> random_script(std::uint32_t seed) {
  std::mt19937 random(seed);
  const auto below = [&](std::size_t end) {
    return std::uniform_int_distribution<std::size_t>(0, end - 1)(random);
  };
  std::vector<Step> script;
  const std::size_t length = 4 + below(8);
  for (std::size_t i = 0; i < length; ++i) {
    Step step;
    const std::size_t draw = below(20);
    step.kind = draw < 8    ? Step::Kind::kWrite
                : draw < 12 ? Step::Kind::kTruncate
                : draw < 13 ? Step::Kind::kPunch
                : draw < 14 ? Step::Kind::kZero
                : draw < 15 ? Step::Kind::kZeroKeep
                : draw < 16 ? Step::Kind::kAllocate
                : draw < 19 ? Step::Kind::kSync
                            : Step::Kind::kReopen;
    step.offset = below(kMaxSize - 1);
    step.size = 1 + below(std::min<std::size_t>(kMaxSize - step.offset, 3 * kBlock));
    if (below(3) == 0) step.offset = step.offset / kBlock * kBlock;
    if (step.kind == Step::Kind::kTruncate) {
      step.size = below(6) == 0 ? 0 : below(kMaxSize);
      step.offset = 0;
    }
    step.value = static_cast<std::byte>(200 + i);
    script.push_back(step);
  }
  return script;
}

void grow(Bytes& bytes, std::size_t size) {
  if (bytes.size() < size) bytes.resize(size);
}

// What the file holds after `step` on a plain file system.
Bytes after(Bytes bytes, const Step& step) {
  const std::size_t end = step.offset + step.size;
  switch (step.kind) {
    case Step::Kind::kWrite:
      grow(bytes, end);
      std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(step.offset), step.size, step.value);
      break;
    case Step::Kind::kTruncate:
      bytes.resize(step.size);
      break;
    case Step::Kind::kPunch:
    case Step::Kind::kZeroKeep:
    case Step::Kind::kZero:
      if (step.kind == Step::Kind::kZero) grow(bytes, end);
      for (std::size_t i = step.offset; i < std::min(end, bytes.size()); ++i) bytes[i] = std::byte{0};
      break;
    case Step::Kind::kAllocate:
      grow(bytes, end);
      break;
    case Step::Kind::kSync:
    case Step::Kind::kReopen:
      break;
  }
  return bytes;
}

class ScriptRun {
 public:
  ScriptRun(FaultDisk& disk, FaultHost& host) : disk_(disk), host_(host) {
    const Bytes base = base_bytes(kBaseSize);
    states_.push_back(base);
    EXPECT_TRUE(reopen());
  }

  // Runs until the script ends or a step fails. Returns: whether it came to its end.
  bool run(const std::vector<Step>& script) {
    for (const Step& step : script) {
      before_ = states_.back();
      if (!apply(step)) {
        states_.push_back(after(states_.back(), step));  // may or may not have happened
        return false;
      }
      if (step.kind == Step::Kind::kSync) {
        states_ = {states_.back()};
      } else {
        states_.push_back(after(states_.back(), step));
      }
    }
    before_ = states_.back();
    return true;
  }

  Bytes read_all() {
    if (file_ == nullptr && !reopen()) return {};  // the step that failed was a reopen
    Bytes bytes(kMaxSize * 2);
    const auto got = file_->read(0, bytes);
    EXPECT_TRUE(got.ok());
    bytes.resize(got.ok() ? *got : 0);
    return bytes;
  }
  bool reopen() {
    file_.reset();
    auto opened = host_.open();
    if (!opened.ok()) return false;
    file_ = std::move(*opened);
    return true;
  }
  void kill() {
    file_.reset();
    disk_.restart_process();
  }
  const Bytes& before() const { return before_; }
  const Bytes& last() const { return states_.back(); }
  // What the file held at the last sync that was completed, and after each step since.
  const std::vector<Bytes>& states() const { return states_; }

 private:
  bool apply(const Step& step) {
    switch (step.kind) {
      case Step::Kind::kWrite:
        return file_->write(step.offset, Bytes(step.size, step.value)).ok();
      case Step::Kind::kTruncate:
        return file_->truncate(step.size).ok();
      case Step::Kind::kPunch:
        return file_->allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, step.offset, step.size).ok();
      case Step::Kind::kZero:
        return file_->allocate(FALLOC_FL_ZERO_RANGE, step.offset, step.size).ok();
      case Step::Kind::kZeroKeep:
        return file_->allocate(FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, step.offset, step.size).ok();
      case Step::Kind::kAllocate:
        return file_->allocate(0, step.offset, step.size).ok();
      case Step::Kind::kSync:
        return file_->sync(false).ok();
      case Step::Kind::kReopen:
        return reopen();
    }
    return false;
  }

  FaultDisk& disk_;
  FaultHost& host_;
  std::unique_ptr<CowFileImpl> file_;
  std::vector<Bytes> states_;
  Bytes before_;
};

std::byte at(const Bytes& bytes, std::size_t i) {
  return i < bytes.size() ? bytes[i] : std::byte{0};
}

bool same_block(const Bytes& a, const Bytes& b, std::size_t block) {
  for (std::size_t i = block * kBlock; i < (block + 1) * kBlock; ++i) {
    if (at(a, i) != at(b, i)) return false;
  }
  return true;
}

// Each block, and the size, is the old or the new one (a write may have grown the file by some of its pages).
::testing::AssertionResult each_block_old_or_new(const Bytes& shown, const Bytes& before,
                                                 const Bytes& later) {
  const std::size_t least = std::min(before.size(), later.size());
  const std::size_t most = std::max(before.size(), later.size());
  if (shown.size() < least || shown.size() > most) {
    return ::testing::AssertionFailure()
           << "size " << shown.size() << " of " << before.size() << " to " << later.size();
  }
  for (std::size_t block = 0; block * kBlock < shown.size(); ++block) {
    // A file that grew by a part of a write shows the new block as far as it is there.
    Bytes part = later;
    part.resize(std::min(part.size(), shown.size()));
    Bytes old = before;
    old.resize(std::min(old.size(), shown.size()));
    if (!same_block(shown, old, block) && !same_block(shown, part, block)) {
      return ::testing::AssertionFailure() << "block " << block << " is neither old nor new";
    }
  }
  return ::testing::AssertionSuccess();
}

// Whether the file held `value` at byte `i` in one of the states. What it grew over may show zeros for a
// moment.
bool was_ever(const std::vector<Bytes>& states, std::size_t i, std::byte value) {
  for (std::size_t s = 0; s < states.size(); ++s) {
    if (i >= states[s].size()) continue;
    const bool grew_here = s > 0 && i >= states[s - 1].size();
    if (states[s][i] == value || (grew_here && value == std::byte{0})) return true;
  }
  return false;
}

// Each byte is one that the file held there at the last sync or after it.
::testing::AssertionResult each_byte_of_some_state(const Bytes& shown, const std::vector<Bytes>& states) {
  std::size_t least = states.front().size();
  std::size_t most = least;
  for (const Bytes& state : states) {
    least = std::min(least, state.size());
    most = std::max(most, state.size());
  }
  if (shown.size() < least || shown.size() > most) {
    return ::testing::AssertionFailure() << "size " << shown.size() << " not in " << least << ".." << most;
  }
  for (std::size_t i = 0; i < shown.size(); ++i) {
    if (!was_ever(states, i, shown[i])) {
      return ::testing::AssertionFailure() << "byte " << i << " is " << static_cast<int>(shown[i])
                                           << ", which it never was since the last sync";
    }
  }
  return ::testing::AssertionSuccess();
}

std::uint64_t count_operations(const std::vector<Step>& script, bool is_volatile, std::uint64_t& set_up) {
  FaultDisk disk(1);
  FaultHost host(disk, is_volatile);
  set_up = disk.operations();
  ScriptRun run(disk, host);
  EXPECT_TRUE(run.run(script)) << describe(script);
  EXPECT_EQ(run.read_all(), run.last()) << describe(script);
  return disk.operations();
}

// Calls `check(disk, host, run, finished)` after `script` was run with a fault at each of its operations, and
// once without.
template <class Check>
void at_every_operation(const std::vector<Step>& script, FaultDisk::Plan plan, bool is_volatile,
                        const Check& check) {
  std::uint64_t set_up = 0;
  const std::uint64_t operations = count_operations(script, is_volatile, set_up);
  for (std::uint64_t k = set_up + 1; k <= operations + 1; ++k) {
    SCOPED_TRACE(describe(script) + "operation " + std::to_string(k) + " of " + std::to_string(operations));
    FaultDisk disk(static_cast<std::uint32_t>(k));
    FaultHost host(disk, is_volatile);
    ScriptRun run(disk, host);
    plan.at = k;
    disk.set_plan(plan);
    const bool finished = run.run(script);
    check(disk, host, run, finished);
    if (::testing::Test::HasFailure()) return;
  }
}

constexpr std::uint32_t kScripts = 60;

class CowFileUnderFaults : public ::testing::Test {
 protected:
  // Thousands of failed operations are meant to fail here.
  static void SetUpTestSuite() { set_log_destination({.least = LogLevel::kFatal}); }
  static void TearDownTestSuite() { set_log_destination({}); }
};

TEST_F(CowFileUnderFaults, ReadsAsAPlainFileDoes) {
  for (std::uint32_t seed = 0; seed < 2000; seed += test::stride()) {
    for (const bool is_volatile : {false, true}) {
      std::uint64_t set_up = 0;
      count_operations(random_script(seed), is_volatile, set_up);
      if (HasFailure()) FAIL() << "seed " << seed;
    }
  }
}

TEST_F(CowFileUnderFaults, AnErrorLeavesEachBlockOldOrNew) {
  for (std::uint32_t seed = 0; seed < kScripts; seed += test::stride()) {
    for (const int error_number : {EIO, ENOSPC}) {
      const FaultDisk::Plan plan{.kind = FaultDisk::Plan::Kind::kFail, .error_number = error_number};
      at_every_operation(random_script(seed), plan, false,
                         [](FaultDisk& disk, FaultHost&, ScriptRun& run, bool finished) {
                           disk.set_plan({});
                           if (finished) {
                             EXPECT_EQ(run.read_all(), run.last());
                             return;
                           }
                           run.reopen();
                           EXPECT_TRUE(each_block_old_or_new(run.read_all(), run.before(), run.last()));
                         });
      if (HasFailure()) FAIL() << "seed " << seed;
    }
  }
}

TEST_F(CowFileUnderFaults, AnErrorIsFollowedByAFileThatStillWorks) {
  for (std::uint32_t seed = 0; seed < kScripts; seed += test::stride()) {
    const FaultDisk::Plan plan{.kind = FaultDisk::Plan::Kind::kFail, .error_number = ENOSPC};
    at_every_operation(random_script(seed), plan, false,
                       [](FaultDisk& disk, FaultHost&, ScriptRun& run, bool finished) {
                         disk.set_plan({});
                         if (finished) return;
                         const Bytes shown = run.read_all();
                         EXPECT_TRUE(each_block_old_or_new(shown, run.before(), run.last()));
                         // The same file object, without a reopen: it must agree with what a new one would
                         // say.
                         run.reopen();
                         EXPECT_TRUE(run.read_all() == shown);
                       });
    if (HasFailure()) FAIL() << "seed " << seed;
  }
}

TEST_F(CowFileUnderFaults, AKillLosesNoCompletedWrite) {
  for (std::uint32_t seed = 0; seed < kScripts; seed += test::stride()) {
    for (const bool is_volatile : {false, true}) {
      const FaultDisk::Plan plan{.kind = FaultDisk::Plan::Kind::kCut};
      at_every_operation(random_script(seed), plan, is_volatile,
                         [](FaultDisk&, FaultHost&, ScriptRun& run, bool finished) {
                           run.kill();
                           ASSERT_TRUE(run.reopen());
                           const Bytes shown = run.read_all();
                           if (finished) {
                             EXPECT_EQ(shown, run.last());
                           } else {
                             EXPECT_TRUE(each_block_old_or_new(shown, run.before(), run.last()));
                           }
                         });
      if (HasFailure()) FAIL() << "seed " << seed;
    }
  }
}

TEST_F(CowFileUnderFaults, APowerLossLosesNothingSyncedAndInventsNothing) {
  for (std::uint32_t seed = 0; seed < kScripts; seed += test::stride()) {
    for (std::uint32_t loss = 0; loss < 8; ++loss) {
      const FaultDisk::Plan plan{.kind = FaultDisk::Plan::Kind::kCut};
      at_every_operation(random_script(seed), plan, false,
                         [&](FaultDisk& disk, FaultHost& host, ScriptRun& run, bool) {
                           run.kill();
                           disk.lose_power(seed * 1000 + loss);
                           host.reboot();
                           ASSERT_TRUE(run.reopen());
                           EXPECT_TRUE(each_byte_of_some_state(run.read_all(), run.states()));
                         });
      if (HasFailure()) FAIL() << "seed " << seed << " loss " << loss;
    }
  }
}

TEST_F(CowFileUnderFaults, APowerLossNeverBringsBackWhatATruncationCutOff) {
  constexpr std::size_t kCut = 2 * kBlock + 100;
  constexpr std::size_t kGrown = 4 * kBlock;  // less than the base: no other step makes this size
  const std::vector<std::vector<Step>> scripts = {
      {{.kind = Step::Kind::kTruncate, .size = kCut}, {.kind = Step::Kind::kTruncate, .size = kGrown}},
      {{.kind = Step::Kind::kWrite, .offset = 3 * kBlock, .size = kBlock, .value = std::byte{250}},
       {.kind = Step::Kind::kTruncate, .size = kCut},
       {.kind = Step::Kind::kTruncate, .size = kGrown}},
      {{.kind = Step::Kind::kTruncate, .size = kCut},
       {.kind = Step::Kind::kReopen},
       {.kind = Step::Kind::kWrite, .offset = kGrown - 1, .size = 1, .value = std::byte{0}}},
      {{.kind = Step::Kind::kWrite, .offset = 0, .size = kBaseSize, .value = std::byte{250}},
       {.kind = Step::Kind::kTruncate, .size = kCut},
       {.kind = Step::Kind::kTruncate, .size = kGrown}},
  };
  for (const std::vector<Step>& script : scripts) {
    for (std::uint32_t loss = 0; loss < 200; loss += test::stride()) {
      const FaultDisk::Plan plan{.kind = FaultDisk::Plan::Kind::kCut};
      at_every_operation(script, plan, false, [&](FaultDisk& disk, FaultHost& host, ScriptRun& run, bool) {
        run.kill();
        disk.lose_power(loss);
        host.reboot();
        ASSERT_TRUE(run.reopen());
        const Bytes shown = run.read_all();
        if (shown.size() != kGrown) return;
        for (std::size_t i = kCut; i < kGrown; ++i) ASSERT_EQ(shown[i], std::byte{0}) << i;
      });
      if (HasFailure()) return;
    }
  }
}

TEST_F(CowFileUnderFaults, AFailedSyncNeverClaimsForGoodWhatItLost) {
  FaultDisk disk(1);
  FaultHost host(disk, false);
  auto file = host.open();
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE((*file)->write(0, Bytes(kBlock, std::byte{250})).ok());
  disk.set_plan({.kind = FaultDisk::Plan::Kind::kFail, .at = disk.operations() + 1});
  EXPECT_EQ(error_number((*file)->sync(true)), EIO);
  // The kernel reports a failed write-back once: the next sync succeeds below, but the block may be gone.
  EXPECT_EQ(error_number((*file)->sync(true)), EIO);
  ASSERT_TRUE((*file)->write(0, Bytes(kBlock, std::byte{251})).ok());
  EXPECT_TRUE((*file)->sync(true).ok());
}

TEST_F(CowFileUnderFaults, ADiskTooFullToSettleAFileTakesItsClaims) {
  for (const int error : {ENOSPC, EDQUOT}) {
    FaultDisk disk(1);
    FaultHost host(disk, false);
    host.mark_error = error;
    auto file = host.open();
    ASSERT_TRUE(file.ok());
    const Bytes all(kBaseSize, std::byte{250});
    ASSERT_TRUE((*file)->write(0, all).ok());
    EXPECT_TRUE((*file)->sync(false).ok());
    EXPECT_FALSE((*file)->is_ordinary());
    file->reset();
    disk.lose_power(7);
    host.reboot();
    auto again = host.open();
    ASSERT_TRUE(again.ok());
    Bytes shown(kBaseSize);
    EXPECT_EQ(*(*again)->read(0, shown), kBaseSize);
    EXPECT_EQ(shown, all);
    host.mark_error = 0;
    EXPECT_TRUE((*again)->sync(false).ok());
    EXPECT_TRUE((*again)->is_ordinary());
  }
}

}  // namespace
}  // namespace varve::upper
