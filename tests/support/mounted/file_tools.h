#pragma once

// Small tools of tests that look at a file system from outside: whole files, stat, trees, other programs.
// They hide set-up, never an assertion: what goes wrong here is reported as a failure of the test that asked.
// Thread rule: as the system calls behind them; run_as and run fork, so call them from single-threaded tests.

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/unique_fd.h"

namespace varve::test {

// A directory under $TMPDIR, or /tmp, that others may enter; removed with all in it at the end. Owned by the test.
class ScratchDirectory {
 public:
  ScratchDirectory();
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// "ok" for a result that is not negative, else the name of errno ("ENOENT"): reads well in a failed
// expectation.
std::string outcome(long result);

// Makes or replaces a file with exactly these bytes. Missing directories above it are made.
void write_file(const std::string& path, std::string_view content);
void make_directories(const std::string& path);
// The whole file; "<ENOENT>" and the like when it cannot be read, so that a comparison shows why.
std::string read_file(const std::string& path);
// Writes all of `bytes` at `offset` of an existing file through an own descriptor.
void write_at(const std::string& path, std::int64_t offset_bytes, std::string_view bytes);
// `size` bytes at `offset`, fewer at the end; "<EIO>" and the like on an error.
std::string read_at(const std::string& path, std::int64_t offset_bytes, std::size_t size_bytes);
std::string read_at(int fd, std::int64_t offset_bytes, std::size_t size_bytes);
// Opens or reports a failure (then the descriptor is invalid).
UniqueFd open_file(const std::string& path, int flags, mode_t mode = 0644);

bool exists(const std::string& path);
struct stat stat_of(const std::string& path);  // lstat
struct stat stat_of(int fd);
// Seconds and nanoseconds of the modification as one number that compares.
std::int64_t mtime_ns(const std::string& path);
// The names in a directory, sorted, without "." and "..". Names that come twice stand twice.
std::vector<std::string> names_in(const std::string& directory);
// Space that a tree takes on its file system (512-byte blocks of everything in it, as du counts).
std::int64_t bytes_used(const std::string& directory);
// "Random" bytes that do not compress; the same for the same seed.
std::string noise(std::size_t size_bytes, std::uint32_t seed);

// One line per object below `directory`: what stat and the contents tell of it, times and numbers of links
// included, inode numbers and times of access not. Equal maps, equal trees.
using Snapshot = std::map<std::string, std::string>;
Snapshot snapshot(const std::string& directory);
// The lines that only one of two snapshots has, "-" and "+" before them; empty when they are equal.
std::string differences(const Snapshot& before, const Snapshot& after);

// Runs `body` in a child process under another user and group, without supplementary groups, umask 022.
// Returns: what body returned (an errno fits; 0..254), 255 when the identity could not be taken.
int run_as(uid_t uid, gid_t gid, const std::function<int()>& body);
// The same with supplementary groups.
int run_as(uid_t uid, gid_t gid, const std::vector<gid_t>& groups, const std::function<int()>& body);
// Runs `body` in a child process that is root, with every capability, of a new user namespace with `count` ids: 0 to count - 1
// inside are `first` to first + count - 1 here, users and groups alike.
// Returns: what body returned (0..253), 254 or 255 when the namespace or the identity could not be had.
int run_in_user_namespace(uid_t first, unsigned count, const std::function<int()>& body);

// How many open descriptors a process has whose links in /proc end so: "[io_uring]", "/fuse".
std::size_t descriptors_of(pid_t process, std::string_view ending);

struct ProgramResult {
  int exit_status = -1;  // 128 + n when killed by signal n
  std::string out;
  std::string err;
};
// Runs a program (found in PATH unless it holds a slash) with no standard input and waits for it, at most a
// minute.
ProgramResult run(const std::vector<std::string>& words);

}  // namespace varve::test
