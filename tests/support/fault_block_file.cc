#include "tests/support/fault_block_file.h"

#include <linux/falloc.h>

#include <algorithm>

namespace varve::testing {

// --- one file ---

class FaultBlockFile final : public block::BlockFile {
 public:
  FaultBlockFile(FaultDisk& disk, std::string name) : disk_(disk), name_(std::move(name)) {}

  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    const std::vector<std::byte>& bytes = content();
    if (disk_.cut_) return Errno{EIO};
    if (offset >= bytes.size()) return std::size_t{0};
    const std::size_t count = std::min<std::size_t>(out.size(), bytes.size() - offset);
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), count, out.begin());
    return count;
  }

  Status write_at(std::uint64_t offset, std::span<const std::byte> data) override {
    const bool was_cut = disk_.cut_;
    const Status status = disk_.step();
    if (!status.ok()) data = data.first(was_cut ? 0 : disk_.torn_size(offset, data.size()));
    if (!data.empty()) {
      change({.kind = FaultDisk::Change::Kind::kWrite, .offset = offset, .data = {data.begin(), data.end()}});
    }
    return status;
  }

  Result<std::uint64_t> size_bytes() const override {
    if (disk_.cut_) return Errno{EIO};
    return std::uint64_t{content().size()};
  }

  Status truncate(std::uint64_t size) override {
    VARVE_RETURN_IF_ERROR(disk_.step());
    change({.kind = FaultDisk::Change::Kind::kSize, .size = size, .data = {}});
    return {};
  }

  Status allocate(int mode, std::uint64_t offset, std::uint64_t size) override {
    VARVE_RETURN_IF_ERROR(disk_.step());
    const std::uint64_t end = offset + size;
    if ((mode & FALLOC_FL_KEEP_SIZE) == 0 && end > content().size()) {
      change({.kind = FaultDisk::Change::Kind::kSize, .size = end, .data = {}});
    }
    if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0) {
      change({.kind = FaultDisk::Change::Kind::kZero, .offset = offset, .size = size, .data = {}});
    }
    return {};
  }

  Status sync(bool) override {
    VARVE_RETURN_IF_ERROR(disk_.step());
    FaultDisk::File& file = disk_.files_.at(name_);
    file.disk = file.now;
    file.changes.clear();
    return {};
  }

  // Holes are not simulated: all of the file is data.
  Result<std::optional<std::uint64_t>> seek_data(std::uint64_t offset) const override {
    if (offset >= content().size()) return std::optional<std::uint64_t>();
    return std::optional<std::uint64_t>(offset);
  }
  Result<std::optional<std::uint64_t>> seek_hole(std::uint64_t offset) const override {
    if (offset >= content().size()) return std::optional<std::uint64_t>();
    return std::optional<std::uint64_t>(content().size());
  }
  Result<std::uint64_t> blocks_512() const override {
    return std::uint64_t{(content().size() + FaultDisk::kSectorBytes - 1) / FaultDisk::kSectorBytes};
  }

 private:
  const std::vector<std::byte>& content() const { return disk_.files_.at(name_).now.bytes; }
  void change(FaultDisk::Change change) {
    FaultDisk::File& file = disk_.files_.at(name_);
    FaultDisk::apply(file.now, change);
    file.changes.push_back(std::move(change));
  }

  FaultDisk& disk_;
  const std::string name_;
};

// --- the disk ---

std::unique_ptr<block::BlockFile> FaultDisk::open(const std::string& name) {
  File& file = files_[name];
  if (file.removed) file = File{};
  return std::make_unique<FaultBlockFile>(*this, name);
}

bool FaultDisk::exists(const std::string& name) const {
  const auto file = files_.find(name);
  return file != files_.end() && !file->second.removed;
}

Status FaultDisk::remove(const std::string& name) {
  VARVE_RETURN_IF_ERROR(step());
  if (const auto file = files_.find(name); file != files_.end()) file->second.removed = true;
  return {};
}

Status FaultDisk::sync_names() {
  VARVE_RETURN_IF_ERROR(step());
  for (auto& [name, file] : files_) file.on_disk = !file.removed;
  return {};
}

void FaultDisk::set_flag(const std::string& name, bool value) {
  files_[name].now.flag = value;
  files_[name].disk.flag = value;
}

bool FaultDisk::flag(const std::string& name) const {
  return files_.at(name).now.flag;
}

Status FaultDisk::clear_flag(const std::string& name) {
  VARVE_RETURN_IF_ERROR(step());
  File& file = files_.at(name);
  file.now.flag = false;
  file.changes.push_back({.kind = Change::Kind::kClearFlag, .data = {}});
  return {};
}

Status FaultDisk::step() {
  if (cut_) return Errno{EIO};
  ++operations_;
  if (plan_.kind == Plan::Kind::kNone || operations_ != plan_.at) return {};
  cut_ = plan_.kind == Plan::Kind::kCut;
  return Errno{plan_.error_number};
}

std::size_t FaultDisk::torn_size(std::uint64_t offset, std::size_t size) {
  const std::uint64_t end = offset + size;
  const std::uint64_t first = offset / kPageBytes;
  const std::uint64_t last = (end + kPageBytes - 1) / kPageBytes;
  // A kill may come between the last page and the return; an error never does.
  const std::uint64_t most = cut_ ? last - first : last - first - 1;
  const std::uint64_t page = first + std::uniform_int_distribution<std::uint64_t>(0, most)(random_);
  const std::uint64_t upto = std::clamp<std::uint64_t>(page * kPageBytes, offset, end);
  return static_cast<std::size_t>(upto - offset);
}

void FaultDisk::apply(Content& content, const Change& change) {
  std::vector<std::byte>& bytes = content.bytes;
  switch (change.kind) {
    case Change::Kind::kWrite:
      if (bytes.size() < change.offset + change.data.size()) bytes.resize(change.offset + change.data.size());
      std::ranges::copy(change.data, bytes.begin() + static_cast<std::ptrdiff_t>(change.offset));
      break;
    case Change::Kind::kSize:
      bytes.resize(change.size);
      break;
    case Change::Kind::kZero:
      for (std::uint64_t i = change.offset;
           i < std::min<std::uint64_t>(bytes.size(), change.offset + change.size); ++i) {
        bytes[i] = std::byte{0};
      }
      break;
    case Change::Kind::kClearFlag:
      content.flag = false;
      break;
  }
}

// Changes of the inode (sizes, holes) reach the disk in their order; sectors of data and xattrs in any.
FaultDisk::Content FaultDisk::surviving(const File& file, std::mt19937& random) const {
  Content content = file.disk;
  const std::size_t inode_changes =
      std::uniform_int_distribution<std::size_t>(0, file.changes.size())(random);
  const int likelihood = std::uniform_int_distribution<int>(0, 4)(random);  // in quarters
  const auto chance = [&] { return std::uniform_int_distribution<int>(0, 3)(random) < likelihood; };
  for (std::size_t i = 0; i < file.changes.size(); ++i) {
    const Change& change = file.changes[i];
    if (change.kind == Change::Kind::kClearFlag) {
      if (chance()) apply(content, change);
      continue;
    }
    if (change.kind != Change::Kind::kWrite) {
      if (i < inode_changes) apply(content, change);
      continue;
    }
    // Growth by a write is a change of the inode as well; without it what lies past the end is not there.
    const std::uint64_t end = change.offset + change.data.size();
    if (i < inode_changes && content.bytes.size() < end && chance()) content.bytes.resize(end);
    for (std::uint64_t at = change.offset; at < end;) {
      const std::uint64_t sector_end = std::min<std::uint64_t>(end, (at / kSectorBytes + 1) * kSectorBytes);
      const bool reached = chance();
      for (; at < sector_end; ++at) {
        if (reached && at < content.bytes.size()) content.bytes[at] = change.data[at - change.offset];
      }
    }
  }
  return content;
}

void FaultDisk::lose_power(std::uint32_t seed) {
  std::mt19937 random(seed);
  for (auto file = files_.begin(); file != files_.end();) {
    const bool name_changed = file->second.on_disk == file->second.removed;
    bool there = file->second.on_disk;
    if (name_changed && std::uniform_int_distribution<int>(0, 1)(random) == 1) there = !there;
    if (!there) {
      file = files_.erase(file);
      continue;
    }
    Content content = surviving(file->second, random);
    file->second = File{.now = content, .disk = content, .changes = {}, .on_disk = true, .removed = false};
    ++file;
  }
  cut_ = false;
  plan_ = {};
}

}  // namespace varve::testing
