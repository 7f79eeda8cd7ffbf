#include "tests/mounted/faults/power_cut_disk.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <sstream>

#include "tests/support/mounted/file_tools.h"

namespace varve::test {
namespace {

constexpr off_t kDiskBytes = off_t{24} << 20;
constexpr int kBusySteps = 2'000;  // of 1 ms

testing::AssertionResult failed(const std::string& what) {
  return testing::AssertionFailure() << what << ": " << std::strerror(errno);
}

}  // namespace

std::string PowerCutDisk::lack_of(const std::string& directory) {
  if (run({"mkfs.ext4", "-V"}).exit_status != 0) return "needs mkfs.ext4";
  const std::string image = directory + "/probe";
  write_file(image, std::string(65'536, '\0'));
  const ProgramResult attached = run({"losetup", "--find", "--show", image});
  if (attached.exit_status != 0) return "needs loop devices: " + attached.err;
  run({"losetup", "--detach", attached.out.substr(0, attached.out.find('\n'))});
  return {};
}

PowerCutDisk::PowerCutDisk(const std::string& directory, const std::string& name)
    : image_(directory + "/" + name + ".ext4"), root_(directory + "/" + name) {
  make_directories(root_);
}

PowerCutDisk::~PowerCutDisk() {
  if (device_.empty()) return;
  ::umount2(root_.c_str(), MNT_DETACH);
  run({"losetup", "--detach", device_});
}

testing::AssertionResult PowerCutDisk::format() {
  const UniqueFd fd = open_file(image_, O_RDWR | O_CREAT | O_TRUNC);
  if (!fd.valid() || ::ftruncate(fd.get(), kDiskBytes) != 0) return failed(image_);
  const ProgramResult made = run({"mkfs.ext4", "-q", "-F", "-b", "4096", "-I", "256", image_});
  if (made.exit_status != 0) return testing::AssertionFailure() << "mkfs.ext4: " << made.err;
  return testing::AssertionSuccess();
}

testing::AssertionResult PowerCutDisk::mount() {
  const ProgramResult attached = run({"losetup", "--find", "--show", image_});
  if (attached.exit_status != 0) return testing::AssertionFailure() << "losetup: " << attached.err;
  device_ = attached.out.substr(0, attached.out.find('\n'));
  // No commit of the journal but those that somebody asks for.
  if (::mount(device_.c_str(), root_.c_str(), "ext4", MS_NOATIME, "commit=300") != 0) {
    const testing::AssertionResult result = failed("mounting " + device_);
    run({"losetup", "--detach", device_});
    device_.clear();
    return result;
  }
  return testing::AssertionSuccess();
}

testing::AssertionResult PowerCutDisk::unmount() {
  for (int step = 0; ::umount2(root_.c_str(), 0) != 0; ++step) {
    if (errno != EBUSY || step == kBusySteps) return failed("unmounting " + root_);
    ::usleep(1'000);
  }
  const ProgramResult detached = run({"losetup", "--detach", device_});
  device_.clear();
  if (detached.exit_status != 0) return testing::AssertionFailure() << "losetup: " << detached.err;
  return testing::AssertionSuccess();
}

std::string PowerCutDisk::writes_so_far() const {
  // Documentation/block/stat.rst of the kernel: the fifth to the seventh number are writes, the ninth is what is under way.
  std::ifstream in("/sys/block/" + device_.substr(device_.rfind('/') + 1) + "/stat");
  std::string numbers;
  std::string number;
  for (int i = 1; in >> number; ++i) {
    if (i >= 5 && i <= 7) numbers += number + " ";
    if (i == 9 && number != "0") return {};
  }
  return numbers;
}

testing::AssertionResult PowerCutDisk::copy_as_after_power_cut(const PowerCutDisk& other) const {
  for (int attempt = 0; attempt < kBusySteps; ++attempt) {
    const std::string before = writes_so_far();
    if (before.empty()) {
      ::usleep(1'000);
      continue;
    }
    const UniqueFd from = open_file(image_, O_RDONLY);
    const UniqueFd to = open_file(other.image_, O_RDWR | O_CREAT | O_TRUNC);
    if (!from.valid() || !to.valid() || ::ftruncate(to.get(), kDiskBytes) != 0) return failed(other.image_);
    off_t data = 0;
    while ((data = ::lseek(from.get(), data, SEEK_DATA)) >= 0) {
      const off_t hole = ::lseek(from.get(), data, SEEK_HOLE);
      const std::string bytes = read_at(from.get(), data, static_cast<std::size_t>(hole - data));
      if (::pwrite(to.get(), bytes.data(), bytes.size(), data) != hole - data) return failed(other.image_);
      data = hole;
    }
    // Else the kernel wrote something back meanwhile.
    if (before == writes_so_far()) return testing::AssertionSuccess();
  }
  return testing::AssertionFailure() << "the disk never rests";
}

}  // namespace varve::test
