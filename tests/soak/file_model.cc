#include "tests/soak/file_model.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "tests/soak/soak.h"

namespace varve::test {

void ModelFile::write(std::size_t offset, std::string_view data) {
  if (data.empty()) return;
  if (offset + data.size() > bytes.size()) bytes.resize(offset + data.size(), '\0');
  std::memcpy(bytes.data() + offset, data.data(), data.size());
}

void ModelFile::zero(std::size_t offset, std::size_t size) {
  if (offset >= bytes.size()) return;
  std::memset(bytes.data() + offset, 0, std::min(size, bytes.size() - offset));
}

bool OpenFile::writable() const {
  return (flags & O_ACCMODE) != O_RDONLY;
}
bool OpenFile::direct() const {
  return (flags & O_DIRECT) != 0;
}
bool OpenFile::appends() const {
  return (flags & O_APPEND) != 0;
}

std::string OpenFile::text() const {
  return fmt::format("fd {} ({}, {}{}{})", fd.get(), name, writable() ? "RDWR" : "RDONLY",
                     appends() ? "|APPEND" : "", direct() ? "|DIRECT" : "");
}

void expect_bytes(std::string_view seen, std::string_view expected, std::size_t offset,
                  const std::string& what) {
  if (seen == expected) return;
  const auto [in_seen, in_expected] =
      std::mismatch(seen.begin(), seen.end(), expected.begin(), expected.end());
  const auto at = static_cast<std::size_t>(in_seen - seen.begin());
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < std::min(seen.size(), expected.size()); ++i)
    wrong += seen[i] != expected[i] ? 1 : 0;
  const auto shown = [at](std::string_view bytes) {
    std::string text;
    for (const char byte : bytes.substr(std::min(at, bytes.size()), 16)) {
      text += fmt::format("{:02x} ", static_cast<unsigned char>(byte));
    }
    return text;
  };
  throw Fault(fmt::format(
      "{}: {} bytes read, {} expected, {} of them differ, the first at offset {} (block {} + {}): read "
      "{}; expected {}",
      what, seen.size(), expected.size(), wrong, offset + at, (offset + at) / 4096, (offset + at) % 4096,
      shown(seen), shown(expected)));
}

void expect_number(std::uint64_t seen, std::uint64_t expected, const std::string& what) {
  if (seen != expected) throw Fault(fmt::format("{}: {}, expected {}", what, seen, expected));
}

void expect_holes(const OpenFile& open) {
  const std::string& bytes = open.file->bytes;
  const auto size = static_cast<off_t>(bytes.size());
  for (off_t at = 0; at < size;) {
    const std::string where = fmt::format("{} from {}", open.text(), at);
    off_t data = ::lseek(open.fd.get(), at, SEEK_DATA);
    if (data < 0 && errno == ENXIO) data = size;
    expect_ok(data, "SEEK_DATA of " + where);
    if (data < at || data > size) throw Fault(fmt::format("SEEK_DATA of {}: {} of {}", where, data, size));
    const std::size_t wrong = bytes.find_first_not_of('\0', static_cast<std::size_t>(at));
    if (wrong < static_cast<std::size_t>(data)) {
      throw Fault(fmt::format("SEEK_DATA of {}: {}, but there is data at {}", where, data, wrong));
    }
    if (data == size) return;
    at = static_cast<off_t>(expect_ok(::lseek(open.fd.get(), data, SEEK_HOLE), "SEEK_HOLE of " + where));
    if (at <= data || at > size)
      throw Fault(fmt::format("SEEK_HOLE of {}: {} after data at {}", where, at, data));
  }
}

}  // namespace varve::test
