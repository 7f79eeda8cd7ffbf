#include "tests/support/mounted/file_tools.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <ftw.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>

namespace varve::test {
namespace {

std::string error_name() {
  return fmt::format("<{}>", strerrorname_np(errno));
}

int remove_object(const char* path, const struct stat*, int, struct FTW*) {
  return ::remove(path);
}

thread_local std::int64_t used_bytes = 0;
int add_used(const char*, const struct stat* status, int, struct FTW*) {
  used_bytes += status->st_blocks * 512;
  return 0;
}

std::string describe_xattrs(const std::string& path) {
  std::vector<char> names(64 * 1024);
  ssize_t size = ::llistxattr(path.c_str(), names.data(), names.size());
  std::vector<std::string> lines;
  for (ssize_t at = 0; at < size;
       at += static_cast<ssize_t>(std::strlen(&names[static_cast<std::size_t>(at)])) + 1) {
    std::string name = &names[static_cast<std::size_t>(at)];
    std::vector<char> value(64 * 1024);
    ssize_t value_size = ::lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
    std::string line = " " + name + "=";
    for (ssize_t i = 0; i < value_size; ++i) {
      line += fmt::format("{:02x}", static_cast<unsigned char>(value[static_cast<std::size_t>(i)]));
    }
    lines.push_back(line);
  }
  std::sort(lines.begin(), lines.end());
  std::string all;
  for (const std::string& line : lines) all += line;
  return all;
}

std::string describe(const std::string& path) {
  struct stat status = stat_of(path);
  std::string line =
      fmt::format("mode={:o} uid={} gid={} nlink={} mtime={}.{:09}", status.st_mode, status.st_uid,
                  status.st_gid, status.st_nlink, status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
  if (S_ISREG(status.st_mode)) {
    std::string content = read_file(path);
    line += fmt::format(" size={} content={:016x}", status.st_size, std::hash<std::string>{}(content));
    if (content.size() != static_cast<std::size_t>(status.st_size)) line += " read=" + content.substr(0, 20);
  } else if (S_ISLNK(status.st_mode)) {
    line += " target=" + std::filesystem::read_symlink(path).string();
  } else if (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode)) {
    line += fmt::format(" device={}:{}", major(status.st_rdev), minor(status.st_rdev));
  }
  return line + describe_xattrs(path);
}

void snapshot_into(const std::string& root, const std::string& below, Snapshot& into) {
  into[below.empty() ? "/" : below] = describe(root + below);
  if (!S_ISDIR(stat_of(root + below).st_mode)) return;
  for (const std::string& name : names_in(root + below)) snapshot_into(root, below + "/" + name, into);
}

int status_of(int wait_status) {
  return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

}  // namespace

ScratchDirectory::ScratchDirectory() {
  const char* above = ::getenv("TMPDIR");
  std::string name = fmt::format("{}/varve-test.XXXXXX", above != nullptr ? above : "/tmp");
  if (::mkdtemp(name.data()) == nullptr || ::chmod(name.c_str(), 0755) != 0) {
    ADD_FAILURE() << "making a directory " << name << ": " << std::strerror(errno);
    std::abort();
  }
  path_ = name;
}

ScratchDirectory::~ScratchDirectory() {
  ::nftw(path_.c_str(), remove_object, 64, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

std::string outcome(long result) {
  return result >= 0 ? "ok" : strerrorname_np(errno);
}

void make_directories(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) ADD_FAILURE() << "making " << path << ": " << error.message();
}

void write_file(const std::string& path, std::string_view content) {
  std::string above = path.substr(0, path.rfind('/'));
  if (!exists(above)) make_directories(above);
  UniqueFd fd = open_file(path, O_WRONLY | O_CREAT | O_TRUNC);
  if (!fd.valid()) return;
  for (std::size_t done = 0; done < content.size();) {
    ssize_t now = ::write(fd.get(), content.data() + done, content.size() - done);
    if (now <= 0) {
      ADD_FAILURE() << "writing " << path << ": " << std::strerror(errno);
      return;
    }
    done += static_cast<std::size_t>(now);
  }
}

std::string read_file(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return error_name();
  std::string content;
  std::vector<char> part(1 << 16);
  for (;;) {
    ssize_t size = ::read(fd.get(), part.data(), part.size());
    if (size < 0) return error_name();
    if (size == 0) return content;
    content.append(part.data(), static_cast<std::size_t>(size));
  }
}

void write_at(const std::string& path, std::int64_t offset_bytes, std::string_view bytes) {
  UniqueFd fd = open_file(path, O_WRONLY);
  if (!fd.valid()) return;
  ssize_t size = ::pwrite(fd.get(), bytes.data(), bytes.size(), offset_bytes);
  if (size != static_cast<ssize_t>(bytes.size())) {
    ADD_FAILURE() << "writing " << bytes.size() << " bytes to " << path << ": " << size << ", "
                  << std::strerror(errno);
  }
}

std::string read_at(int fd, std::int64_t offset_bytes, std::size_t size_bytes) {
  std::string bytes(size_bytes, '\0');
  std::size_t done = 0;
  while (done < size_bytes) {
    ssize_t now =
        ::pread(fd, bytes.data() + done, size_bytes - done, offset_bytes + static_cast<std::int64_t>(done));
    if (now < 0) return error_name();
    if (now == 0) break;
    done += static_cast<std::size_t>(now);
  }
  bytes.resize(done);
  return bytes;
}

std::string read_at(const std::string& path, std::int64_t offset_bytes, std::size_t size_bytes) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return fd.valid() ? read_at(fd.get(), offset_bytes, size_bytes) : error_name();
}

UniqueFd open_file(const std::string& path, int flags, mode_t mode) {
  UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC, mode));
  if (!fd.valid()) ADD_FAILURE() << "opening " << path << ": " << std::strerror(errno);
  return fd;
}

bool exists(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0;
}

struct stat stat_of(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0)
    ADD_FAILURE() << "stat of " << path << ": " << std::strerror(errno);
  return status;
}

struct stat stat_of(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) ADD_FAILURE() << "fstat: " << std::strerror(errno);
  return status;
}

std::int64_t mtime_ns(const std::string& path) {
  struct stat status = stat_of(path);
  return status.st_mtim.tv_sec * 1'000'000'000LL + status.st_mtim.tv_nsec;
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  DIR* stream = ::opendir(directory.c_str());
  if (stream == nullptr) return {error_name()};
  errno = 0;
  while (const struct dirent* entry = ::readdir(stream)) {
    std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
    errno = 0;
  }
  if (errno != 0) names.push_back(error_name());
  ::closedir(stream);
  std::sort(names.begin(), names.end());
  return names;
}

std::int64_t bytes_used(const std::string& directory) {
  used_bytes = 0;
  ::nftw(directory.c_str(), add_used, 64, FTW_PHYS | FTW_MOUNT);
  return used_bytes;
}

std::string noise(std::size_t size_bytes, std::uint32_t seed) {
  std::mt19937 generator(seed);
  std::string bytes(size_bytes, '\0');
  for (char& byte : bytes) byte = static_cast<char>(generator());
  return bytes;
}

Snapshot snapshot(const std::string& directory) {
  Snapshot lines;
  snapshot_into(directory, "", lines);
  return lines;
}

std::string differences(const Snapshot& before, const Snapshot& after) {
  std::string found;
  auto add_missing = [&found](const char* sign, const Snapshot& from, const Snapshot& in) {
    for (const auto& [path, line] : from) {
      auto other = in.find(path);
      if (other == in.end() || other->second != line) found += fmt::format("{} {}: {}\n", sign, path, line);
    }
  };
  add_missing("-", before, after);
  add_missing("+", after, before);
  return found;
}

int run_as(uid_t uid, gid_t gid, const std::function<int()>& body) {
  return run_as(uid, gid, {}, body);
}

int run_as(uid_t uid, gid_t gid, const std::vector<gid_t>& groups, const std::function<int()>& body) {
  pid_t child = ::fork();
  if (child == 0) {
    ::umask(022);
    if (::setgroups(groups.size(), groups.data()) != 0 || ::setresgid(gid, gid, gid) != 0 ||
        ::setresuid(uid, uid, uid) != 0)
      _exit(255);
    _exit(body());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status_of(status);
}

int run_in_user_namespace(uid_t first, unsigned count, const std::function<int()>& body) {
  int ready[2];
  int mapped[2];
  if (::pipe2(ready, O_CLOEXEC) != 0 || ::pipe2(mapped, O_CLOEXEC) != 0) return 254;
  const UniqueFd ready_end(ready[0]);
  UniqueFd is_ready(ready[1]);
  const UniqueFd mapped_end(mapped[0]);
  UniqueFd is_mapped(mapped[1]);
  const pid_t child = ::fork();
  char byte = 'x';
  if (child == 0) {
    ::umask(022);
    is_mapped.reset();
    const bool made = ::unshare(CLONE_NEWUSER) == 0 && ::write(is_ready.get(), &byte, 1) == 1;
    if (!made || ::read(mapped_end.get(), &byte, 1) != 1) _exit(254);
    if (::setresgid(0, 0, 0) != 0 || ::setgroups(0, nullptr) != 0 || ::setresuid(0, 0, 0) != 0) _exit(255);
    _exit(body());
  }
  is_ready.reset();
  if (::read(ready_end.get(), &byte, 1) == 1) {
    const std::string map = fmt::format("0 {} {}\n", first, count);
    for (const char* name : {"uid_map", "gid_map"}) write_file(fmt::format("/proc/{}/{}", child, name), map);
    if (::write(is_mapped.get(), &byte, 1) != 1) ADD_FAILURE() << "the child is gone";
  }
  is_mapped.reset();
  int status = 0;
  ::waitpid(child, &status, 0);
  return status_of(status);
}

std::size_t descriptors_of(pid_t process, std::string_view ending) {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(fmt::format("/proc/{}/fd", process))) {
    std::error_code gone;
    if (std::filesystem::read_symlink(entry.path(), gone).string().ends_with(ending)) ++count;
  }
  return count;
}

ProgramResult run(const std::vector<std::string>& words) {
  ScratchDirectory scratch;
  std::string out = scratch.path() + "/out";
  std::string err = scratch.path() + "/err";
  pid_t child = ::fork();
  if (child == 0) {
    ::dup2(::open("/dev/null", O_RDONLY), 0);
    ::dup2(::open(out.c_str(), O_WRONLY | O_CREAT, 0600), 1);
    ::dup2(::open(err.c_str(), O_WRONLY | O_CREAT, 0600), 2);
    ::alarm(60);  // survives exec: a program that hangs is ended by SIGALRM, status 142
    std::vector<char*> argv;
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    ::execvp(argv[0], argv.data());
    _exit(127);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return ProgramResult{status_of(status), read_file(out), read_file(err)};
}

}  // namespace varve::test
