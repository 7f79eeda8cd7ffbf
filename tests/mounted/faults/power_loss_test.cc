// The power goes while varvefs works: its upper lies on a small disk, of which a copy is taken before many of the system calls that
// change something. Each copy is mounted, which replays the journal, and varvefs over it, as after a reboot: no repair is needed;
// what was synced is there; names are those of one moment; and no file shows bytes that nobody wrote, zeros least of all.

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <thread>

#include "tests/mounted/faults/fault_control.h"
#include "tests/mounted/faults/file_history.h"
#include "tests/mounted/faults/power_cut_disk.h"
#include "tests/mounted/faults/varvefs_process.h"
#include "tests/support/mounted/file_tools.h"
#include "tests/support/mounted/mounted_stack.h"
#include "tests/support/stride.h"

namespace varve::test {
namespace {

constexpr std::size_t kFileBytes = 20'000;

// What the kernel wrote back by itself before the cut.
enum class WriteBack {
  kNothing,    // the least that may be on the disk
  kDataFirst,  // the data of each file at once, what says that it belongs to the file later
  kNowAndThen,
};

std::string describe(const testing::TestParamInfo<WriteBack>& info) {
  static constexpr const char* kNames[] = {"Nothing", "DataFirst", "NowAndThen"};
  return kNames[static_cast<int>(info.param)];
}

class PowerLoss : public testing::TestWithParam<WriteBack> {
 protected:
  PowerLoss() : disk_(scratch_.path(), "disk"), cut_(scratch_.path(), "cut") {}

  void SetUp() override {
    VARVE_NEEDS(kRootOfHost);
    if (const std::string lack = PowerCutDisk::lack_of(scratch_.path()); !lack.empty()) GTEST_SKIP() << lack;
    // A boot id of its own for what is mounted after a cut: as after a reboot, nothing that was only in memory counts.
    write_file(other_boot(), "01234567-89ab-cdef-0123-456789abcdef\n");
    ASSERT_TRUE(disk_.format());
    ASSERT_TRUE(disk_.mount());
    for (const char* name : {"upper", "work"}) make_directories(disk_.root() + "/" + name);
    make_directories(mount_point());
    make_directories(mount_point() + "-after");
    fill_lower();
    const UniqueFd root = open_file(disk_.root(), O_RDONLY);
    ASSERT_EQ(::syncfs(root.get()), 0);
    make_control();
  }
  void TearDown() override {
    varvefs_.end();
    after_.end();
    ::umount2(boot_id(), MNT_DETACH);
  }

  std::string lower(const std::string& path) const { return scratch_.path() + "/lower" + path; }
  std::string mount_point() const { return scratch_.path() + "/mnt"; }
  std::string other_boot() const { return scratch_.path() + "/other-boot"; }
  static const char* boot_id() { return "/proc/sys/kernel/random/boot_id"; }

  void add_lower(const std::string& path, std::uint32_t seed) {
    write_file(lower(path), noise(kFileBytes, seed));
    history_.add(path, noise(kFileBytes, seed));
  }
  void fill_lower() {
    for (std::uint32_t i = 0; i < 8; ++i) add_lower(fmt::format("/f{}", i), i + 1);
    for (std::uint32_t i = 0; i < 2; ++i) add_lower(fmt::format("/d/g{}", i), i + 20);
    // A block and a part of the inode: on ext4 with inodes of 256 bytes they leave room for the mark that names the origin, but
    // not for the longer one that names the base. Its copy-up copies the data.
    const std::string much(4'020, 'x');
    const std::string more(24, 'x');
    ASSERT_EQ(outcome(::setxattr(lower("/f7").c_str(), "user.much", much.data(), much.size(), 0)), "ok");
    ASSERT_EQ(outcome(::setxattr(lower("/f7").c_str(), "user.more", more.data(), more.size(), 0)), "ok");
    history_.all_synced();
  }

  void make_control() {
    const UniqueFd fd = open_file(scratch_.path() + "/control", O_RDWR | O_CREAT);
    ASSERT_EQ(::ftruncate(fd.get(), sizeof(FaultControl)), 0);
    void* memory = ::mmap(nullptr, sizeof(FaultControl), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    ASSERT_NE(memory, MAP_FAILED);
    control_ = new (memory) FaultControl;
  }

  std::vector<std::string> command(const PowerCutDisk& disk, const std::string& at,
                                   const std::string& more = "") const {
    return {program("varvefs"), "-f", "-o",
            fmt::format("lowerdir={0}/lower,upperdir={1}/upper,workdir={1}/work{2}", scratch_.path(),
                        disk.root(), more),
            at};
  }

  // --- steps of the workload; each says what may be so before it begins ---

  std::string at(const std::string& path) const { return mount_point() + path; }
  void step(const std::function<void()>& expect, const std::function<long()>& act) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      expect();
    }
    EXPECT_EQ(outcome(act()), "ok");
  }
  void write(const std::string& path, std::size_t offset, std::size_t size, std::uint32_t seed) {
    const UniqueFd fd = open_file(at(path), O_WRONLY);
    const std::string bytes = noise(size, seed);
    step([&] { history_.write(history_.at(path), offset, bytes); },
         [&] {
           return ::pwrite(fd.get(), bytes.data(), size, static_cast<off_t>(offset)) ==
                          static_cast<ssize_t>(size)
                      ? 0
                      : -1;
         });
  }
  void sync(const std::string& path) {
    const UniqueFd fd = open_file(at(path), O_RDONLY);
    step([] {}, [&] { return ::fsync(fd.get()); });
    const std::lock_guard<std::mutex> lock(mutex_);
    history_.synced(history_.at(path));
  }
  void resize(const std::string& path, std::size_t size) {
    step([&] { history_.resize(history_.at(path), size); },
         [&] { return ::truncate(at(path).c_str(), static_cast<off_t>(size)); });
  }
  void create(const std::string& path) {
    step([&] { history_.add(path, ""); },
         [&] {
           const UniqueFd fd(::open(at(path).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
           return fd.get();
         });
  }
  void rename(const std::string& from, const std::string& to) {
    step([&] { history_.rename(from, to); }, [&] { return ::rename(at(from).c_str(), at(to).c_str()); });
  }
  void unlink(const std::string& path) {
    step([&] { history_.remove(path); }, [&] { return ::unlink(at(path).c_str()); });
  }

  void work();

  // --- cuts ---

  void write_back(std::uint32_t call) const {
    if (GetParam() == WriteBack::kNowAndThen && call % 11 == 0) {
      const UniqueFd root = open_file(disk_.root(), O_RDONLY);
      EXPECT_EQ(::syncfs(root.get()), 0);
    }
    if (GetParam() != WriteBack::kDataFirst) return;
    for (const auto& [path, line] : snapshot(disk_.root())) {
      if (!S_ISREG(stat_of(disk_.root() + path).st_mode)) continue;
      const UniqueFd fd = open_file(disk_.root() + path, O_RDONLY);
      ::sync_file_range(fd.get(), 0, 0,
                        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
    }
  }
  void cut_and_check();
  static std::map<std::string, std::string> files_below(const std::string& root);

  ScratchDirectory scratch_;
  PowerCutDisk disk_;
  PowerCutDisk cut_;
  VarvefsProcess varvefs_;
  VarvefsProcess after_;
  FaultControl* control_ = nullptr;
  std::mutex mutex_;
  FileHistory history_;  // guarded by mutex_
};

// A bit of everything, with syncs at some points only.
void PowerLoss::work() {
  write("/f0", 5'000, 17, 100);
  sync("/f0");
  write("/f0", 9'000, 3'000, 101);
  step([] {}, [&] { return ::chmod(at("/f1").c_str(), 0600); });
  write("/f1", 0, 5'000, 102);
  create("/n1");
  write("/n1", 0, 9'000, 103);
  sync("/n1");
  rename("/f1", "/d/f1");
  resize("/f2", 5'000);
  resize("/f2", 15'000);
  write("/f2", 14'000, 3'000, 104);
  sync("/f2");
  step([] {}, [&] { return ::chmod(at("/f7").c_str(), 0600); });
  resize("/f3", 0);
  write("/f3", 0, 3'000, 105);
  sync("/f3");
  rename("/f3", "/f4");
  write("/f5", 0, kFileBytes, 106);
  sync("/f5");
  resize("/f5", 7'000);
  write("/f5", 12'000, 5'000, 107);
  sync("/f5");
  unlink("/f0");
  write("/f6", 4'096, 8'192, 108);
  rename("/d", "/e");
  write("/e/g0", 6'000, 100, 109);
  sync("/e/g0");
  create("/e/n2");
  write("/e/n2", 0, 100, 110);
  rename("/e/n2", "/f6");
  resize("/e/g1", 4'096);
  write("/e/g1", 8'192, 4'096, 111);
  sync("/e/g1");
}

std::map<std::string, std::string> PowerLoss::files_below(const std::string& root) {
  std::map<std::string, std::string> found;
  for (const auto& [path, line] : snapshot(root)) {
    if (S_ISREG(stat_of(root + path).st_mode)) found[path] = read_file(root + path);
  }
  return found;
}

void PowerLoss::cut_and_check() {
  ASSERT_TRUE(disk_.copy_as_after_power_cut(cut_));
  ASSERT_TRUE(cut_.mount());
  ASSERT_EQ(::mount(other_boot().c_str(), boot_id(), nullptr, MS_BIND, nullptr), 0);
  const testing::AssertionResult mounted =
      after_.start(command(cut_, mount_point() + "-after"), mount_point() + "-after");
  ASSERT_EQ(::umount2(boot_id(), 0), 0);
  ASSERT_TRUE(mounted) << "no repair by hand";
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    EXPECT_EQ(history_.fault_of(files_below(mount_point() + "-after")), "");
  }
  EXPECT_EQ(after_.end(), 0);
  ASSERT_TRUE(cut_.unmount());
}

TEST_P(PowerLoss, LosesNothingSyncedAndMakesNothingUp) {
  const bool everywhere = ::getenv("VARVE_FAULTS_EVERYWHERE") != nullptr;
  // Under a sanitizer (VARVE_TEST_STRIDE) before every ninth.
  const std::uint32_t stride = everywhere ? 1 : test::stride() > 1 ? 9 : 3;
  ::setenv("VARVE_FAULT_CONTROL", (scratch_.path() + "/control").c_str(), 1);
  ASSERT_TRUE(varvefs_.start(command(disk_, mount_point()), mount_point(), VARVE_FAULT_POINTS));
  control_->kind = FaultKind::kPause;
  control_->armed = 1;
  std::atomic<bool> done{false};
  std::thread worker([&] {
    work();
    done = true;
  });
  std::uint32_t call = 0;
  std::uint32_t cuts = 0;
  while (!done) {
    if (control_->paused_at <= call) {
      ::usleep(100);
      continue;
    }
    call = control_->paused_at;
    write_back(call);
    if (call % stride == static_cast<std::uint32_t>(GetParam()) % stride && !HasFatalFailure()) {
      SCOPED_TRACE(fmt::format("the power goes before call {}", call));
      cut_and_check();
      ++cuts;
    }
    control_->may_go = call;
  }
  worker.join();
  control_->armed = 0;
  EXPECT_GE(stat_of(disk_.root() + "/upper/f7").st_blocks, 40) << "its data was copied";
  cut_and_check();
  EXPECT_GE(cuts, 100 / stride);
  EXPECT_EQ(varvefs_.end(), 0);
}

INSTANTIATE_TEST_SUITE_P(AfterWriteBackOf, PowerLoss,
                         testing::Values(WriteBack::kNothing, WriteBack::kDataFirst, WriteBack::kNowAndThen),
                         describe);

using VolatilePowerLoss = PowerLoss;

TEST_P(VolatilePowerLoss, IsNoticed) {
  ASSERT_TRUE(varvefs_.start(command(disk_, mount_point(), ",volatile"), mount_point()));
  write_file(at("/new"), "words");
  ASSERT_TRUE(disk_.copy_as_after_power_cut(cut_));
  ASSERT_TRUE(cut_.mount());
  EXPECT_FALSE(after_.start(command(cut_, mount_point() + "-after", ",volatile"), mount_point() + "-after"));
  EXPECT_NE(after_.said().find("volatile"), std::string::npos) << after_.said();
  EXPECT_FALSE(after_.start(command(cut_, mount_point() + "-after"), mount_point() + "-after"));
  ASSERT_TRUE(cut_.unmount());
  EXPECT_EQ(varvefs_.end(), 0);
}

INSTANTIATE_TEST_SUITE_P(AfterWriteBackOf, VolatilePowerLoss, testing::Values(WriteBack::kNothing), describe);

}  // namespace
}  // namespace varve::test
