#include "tests/unit/image/tree_snapshot.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "fs/base/unique_fd.h"
#include "imagetool/image/object_at.h"
#include "imagetool/image/store/digest.h"

namespace varve::image {
namespace {

std::string data_map(int fd, off_t size) {
  std::string map;
  for (off_t at = 0; at < size;) {
    const off_t data = ::lseek(fd, at, SEEK_DATA);
    if (data < 0) break;
    at = ::lseek(fd, data, SEEK_HOLE);
    map += fmt::format(" {}-{}", data, at);
  }
  return map;
}

std::string hexadecimal(const std::string& bytes) {
  std::string text;
  for (const char c : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return text;
}

std::string line_of(const std::string& root, const std::string& path, std::map<ino_t, std::string>& links) {
  const std::string full = root + path;
  struct stat status {};
  EXPECT_EQ(::lstat(full.c_str(), &status), 0) << full;
  std::string line = fmt::format("{} {:o} {}:{} {}.{:09}", path, status.st_mode, status.st_uid, status.st_gid,
                                 status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
  if (!S_ISDIR(status.st_mode)) {
    line += fmt::format(" nlink {} of {}", status.st_nlink, links.emplace(status.st_ino, path).first->second);
  }
  if (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode)) {
    line += fmt::format(" device {}:{}", major(status.st_rdev), minor(status.st_rdev));
  }
  if (S_ISLNK(status.st_mode)) line += " -> " + std::filesystem::read_symlink(full).string();
  if (S_ISREG(status.st_mode)) {
    const UniqueFd file(::open(full.c_str(), O_RDONLY | O_CLOEXEC));
    line += fmt::format(" {} bytes {} data{}", status.st_size, digest_of_file(file.get())->digest.short_hex(),
                        data_map(file.get(), status.st_size));
  }
  const UniqueFd parent(::open(std::filesystem::path(full).parent_path().c_str(), O_PATH | O_CLOEXEC));
  const Result<XattrList> xattrs = read_xattrs(parent.get(), std::filesystem::path(full).filename());
  EXPECT_TRUE(xattrs.ok()) << full;
  for (const auto& [name, value] : xattrs.ok() ? xattrs.value() : XattrList{}) {
    line += fmt::format(" {}={}", name, hexadecimal(value));
  }
  return line;
}

}  // namespace

std::vector<std::string> snapshot_of(const std::string& root) {
  std::vector<std::string> paths = {""};
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    paths.push_back(entry.path().string().substr(root.size()));
  }
  std::sort(paths.begin(), paths.end());
  std::map<ino_t, std::string> links;
  std::vector<std::string> lines;
  for (const std::string& path : paths) lines.push_back(line_of(root, path, links));
  return lines;
}

}  // namespace varve::image
