// The operations of FilesSoak that read and change what a file holds.

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "tests/soak/files_soak.h"

namespace varve::test {
namespace {

// A range of a file, mapped shared; taken away at the end.
class Mapping {
 public:
  Mapping(const OpenFile& open, std::size_t offset, std::size_t size) : size_(size) {
    const int protection = open.writable() ? PROT_READ | PROT_WRITE : PROT_READ;
    address_ = ::mmap(nullptr, size, protection, MAP_SHARED, open.fd.get(), static_cast<off_t>(offset));
    if (address_ == MAP_FAILED) expect_ok(-1, "mmap");
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { ::munmap(address_, size_); }

  char* bytes() const { return static_cast<char*>(address_); }
  std::string_view view() const { return {bytes(), size_}; }
  // Reads all pages in, so that an I/O error is an errno and no SIGBUS. Kernels before 5.14 do not know how.
  void populate() const {
    if (::madvise(address_, size_, MADV_POPULATE_READ) != 0 && errno != EINVAL)
      expect_ok(-1, "reading a mapping in");
  }
  void sync() const { expect_ok(::msync(address_, size_, MS_SYNC), "msync"); }

 private:
  void* address_ = nullptr;
  std::size_t size_;
};

}  // namespace

std::string FilesSoak::read_through(const OpenFile& open, std::size_t offset, std::size_t size) {
  const long count =
      expect_ok(::pread(open.fd.get(), buffer_.get(), size, static_cast<off_t>(offset)), "pread");
  return {buffer_.get(), static_cast<std::size_t>(count)};
}

void FilesSoak::read_some() {
  const OpenFile& open = any_open();
  std::size_t offset = any_offset(*open.file);
  std::size_t size = any_length(kMaxTransferBytes);
  if (open.direct()) {
    offset = offset / kBlockBytes * kBlockBytes;
    size = (size + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
  }
  did(fmt::format("pread {} {}+{}", open.text(), offset, size));
  const std::string& bytes = open.file->bytes;
  const std::string_view expected =
      offset < bytes.size() ? std::string_view(bytes).substr(offset, size) : std::string_view();
  expect_bytes(read_through(open, offset, size), expected, offset, "pread " + open.text());
}

void FilesSoak::write_some() {
  OpenFile& open = any_writable();
  std::size_t offset = open.appends() ? open.file->bytes.size() : any_offset(*open.file);
  if (offset + kMaxTransferBytes > kMaxFileBytes) return truncate_open();
  std::size_t size = any_length(kMaxTransferBytes);
  if (open.direct()) {
    offset = offset / kBlockBytes * kBlockBytes;
    size = (size + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
  }
  const std::string data = random_.bytes(size);
  did(fmt::format("pwrite {} {}+{}, size before {}", open.text(), offset, size, open.file->bytes.size()));
  std::memcpy(buffer_.get(), data.data(), size);
  const long written =
      expect_ok(::pwrite(open.fd.get(), buffer_.get(), size, static_cast<off_t>(offset)), "pwrite");
  expect_number(static_cast<std::uint64_t>(written), size, "bytes written by pwrite");
  open.file->write(offset, data);
}

void FilesSoak::append_some() {
  const auto appending =
      std::find_if(open_.begin(), open_.end(), [](const OpenFile& open) { return open.appends(); });
  if (appending == open_.end()) return open_one();
  ModelFile& file = *appending->file;
  if (file.bytes.size() + kMaxTransferBytes > kMaxFileBytes) return truncate_open();
  const std::string data = random_.bytes(any_length(kMaxTransferBytes));
  did(fmt::format("append {} {} bytes at {}", appending->text(), data.size(), file.bytes.size()));
  const long written = expect_ok(::write(appending->fd.get(), data.data(), data.size()), "write");
  expect_number(static_cast<std::uint64_t>(written), data.size(), "bytes written by write");
  file.write(file.bytes.size(), data);
}

void FilesSoak::truncate_open() {
  OpenFile& open = any_writable();
  const std::size_t size = any_size(*open.file);
  did(fmt::format("ftruncate {} {} -> {}", open.text(), open.file->bytes.size(), size));
  expect_ok(::ftruncate(open.fd.get(), static_cast<off_t>(size)), "ftruncate");
  open.file->bytes.resize(size, '\0');
}

void FilesSoak::allocate() {
  struct Mode {
    int flags;
    const char* name;
  };
  constexpr std::array<Mode, 5> kModes = {
      {{0, "0"},
       {FALLOC_FL_KEEP_SIZE, "KEEP_SIZE"},
       {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, "PUNCH_HOLE"},
       {FALLOC_FL_ZERO_RANGE, "ZERO_RANGE"},
       {FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, "ZERO_RANGE|KEEP_SIZE"}}};
  OpenFile& open = any_writable();
  ModelFile& file = *open.file;
  const Mode mode = kModes[random_.below(kModes.size())];
  const std::size_t offset = any_offset(file);
  const std::size_t size = any_length(kMaxTransferBytes);
  did(fmt::format("fallocate {} {} {}+{}, size before {}", open.text(), mode.name, offset, size,
                  file.bytes.size()));
  expect_ok(::fallocate(open.fd.get(), mode.flags, static_cast<off_t>(offset), static_cast<off_t>(size)),
            "fallocate");
  if ((mode.flags & FALLOC_FL_KEEP_SIZE) == 0 && file.bytes.size() < offset + size)
    file.bytes.resize(offset + size, '\0');
  if ((mode.flags & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0) file.zero(offset, size);
}

void FilesSoak::map_and_store() {
  OpenFile& open = any_writable();
  ModelFile& file = *open.file;
  if (file.bytes.empty()) return write_some();
  const std::size_t offset = random_.below(file.bytes.size());
  const std::size_t start = offset / kBlockBytes * kBlockBytes;
  const std::string data = random_.bytes(any_length(file.bytes.size() - offset));
  const bool synced = random_.one_in(2);
  did(fmt::format("store {} {}+{}{}, size {}", open.text(), offset, data.size(), synced ? " and msync" : "",
                  file.bytes.size()));
  const Mapping mapping(open, start, offset - start + data.size());
  mapping.populate();
  std::memcpy(mapping.bytes() + (offset - start), data.data(), data.size());
  file.write(offset, data);
  file.unsynced = true;
  // Descriptors see what was stored, written back or not.
  for (const OpenFile& other : open_) {
    if (other.file != open.file || other.direct() || !random_.one_in(2)) continue;
    const std::size_t size = std::min(data.size(), kMaxTransferBytes);
    expect_bytes(read_through(other, offset, size), std::string_view(data).substr(0, size), offset,
                 "pread beside a mapping, " + other.text());
  }
  if (synced) mapping.sync();
}

void FilesSoak::map_and_load() {
  const OpenFile& open = any_open();
  const std::string& bytes = open.file->bytes;
  if (bytes.empty()) return read_some();
  const std::size_t start = random_.below(bytes.size()) / kBlockBytes * kBlockBytes;
  const std::size_t size = any_length(bytes.size() - start);
  did(fmt::format("load {} {}+{}", open.text(), start, size));
  const Mapping mapping(open, start, size);
  mapping.populate();
  expect_bytes(mapping.view(), std::string_view(bytes).substr(start, size), start, "load " + open.text());
}

void FilesSoak::copy_range() {
  OpenFile& to = any_writable();
  const OpenFile& from = any_open();  // does not move `to`: something is open now
  if (to.appends()) return append_some();
  if (plan_.native && (to.direct() || from.direct())) return read_some();  // ext4 wants it aligned
  off_t from_offset = static_cast<off_t>(any_offset(*from.file));
  off_t to_offset = static_cast<off_t>(any_offset(*to.file));
  const std::size_t size = any_length(kMaxTransferBytes);
  const auto first = static_cast<std::size_t>(from_offset);
  const auto target = static_cast<std::size_t>(to_offset);
  did(fmt::format("copy_file_range {} {}+{} of {} -> {} {} of {}", from.text(), first, size,
                  from.file->bytes.size(), to.text(), target, to.file->bytes.size()));
  const bool overlaps = from.file == to.file && first < target + size && target < first + size;
  const long copied = ::copy_file_range(from.fd.get(), &from_offset, to.fd.get(), &to_offset, size, 0);
  if (overlaps && copied < 0 && errno == EINVAL) return;
  expect_ok(copied, "copy_file_range");
  const std::size_t there = first < from.file->bytes.size() ? from.file->bytes.size() - first : 0;
  const std::size_t most = std::min(size, there);
  const auto count = static_cast<std::size_t>(copied);
  if (count > most || (count == 0) != (most == 0)) {
    throw Fault(fmt::format("copy_file_range told {} bytes, {} were to be copied", count, most));
  }
  to.file->write(target, from.file->bytes.substr(std::min(first, from.file->bytes.size()), count));
}

void FilesSoak::seek_holes() {
  const OpenFile& open = any_open();
  did("seek holes " + open.text());
  if (open.file->unsynced) {
    // The kernel asks for holes without writing back what mappings hold.
    expect_ok(::fsync(open.fd.get()), "fsync");
    open.file->unsynced = false;
  }
  expect_holes(open);
}

void FilesSoak::sync() {
  const OpenFile& open = any_open();
  const bool data_only = random_.one_in(2);
  did(fmt::format("{} {}", data_only ? "fdatasync" : "fsync", open.text()));
  expect_ok(data_only ? ::fdatasync(open.fd.get()) : ::fsync(open.fd.get()), "fsync");
  open.file->unsynced = false;
}

}  // namespace varve::test
