// The small hot operations of bench/run, as a program: what is measured is the file system and no interpreter.
//
//   client COMMAND ARGUMENT...    see kCommands below
//
// Each measured part is printed as a line `NAME NANOSECONDS`. An operation that fails ends the program with status 1 and a
// line that names it; a rename(2) that is refused with EXDEV ends it with status 3, for the caller to copy as mv(1) does.
// Random places come from std::mt19937_64 with the seed that is given, so every file system is asked the same.

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace {

using Arguments = std::vector<std::string>;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kBlockBytes = 4096;
constexpr std::size_t kPieceBytes = std::size_t{1} << 20;
constexpr int kCrossesDevices = 3;

// Keeps the optimizer from leaving out loads whose values nobody uses.
volatile std::uint64_t seen_bytes = 0;

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "client: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

long checked(long result, const std::string& what) {
  if (result < 0) fail(what);
  return result;
}

std::uint64_t number(const std::string& word) {
  return std::stoull(word);
}

class Timer {
 public:
  void print(const char* name) const {
    const auto passed = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin_);
    std::printf("%s %lld\n", name, static_cast<long long>(passed.count()));
  }

 private:
  Clock::time_point begin_ = Clock::now();
};

int open_file(const std::string& path, int flags) {
  return static_cast<int>(checked(::open(path.c_str(), flags | O_CLOEXEC, 0644), "open " + path));
}

void close_file(int file) {
  checked(::close(file), "close");
}

std::uint64_t size_of(int file) {
  struct stat status {};
  checked(::fstat(file, &status), "fstat");
  return static_cast<std::uint64_t>(status.st_size);
}

void write_at(int file, const std::vector<char>& data, std::uint64_t offset) {
  const auto done = checked(::pwrite(file, data.data(), data.size(), static_cast<off_t>(offset)), "write");
  if (static_cast<std::size_t>(done) != data.size()) fail("a short write");
}

void read_at(int file, std::vector<char>& data, std::uint64_t offset) {
  const auto done = checked(::pread(file, data.data(), data.size(), static_cast<off_t>(offset)), "read");
  if (static_cast<std::size_t>(done) != data.size()) fail("a short read");
}

std::vector<char> pattern(std::size_t bytes, std::uint64_t seed) {
  std::vector<char> data(bytes);
  std::mt19937_64 random(seed);
  for (char& byte : data) byte = static_cast<char>(random());
  return data;
}

// Block numbers of a file, each once, in an order drawn by `seed`.
std::vector<std::uint64_t> distinct_blocks(std::uint64_t blocks, std::uint64_t count, std::uint64_t seed) {
  std::vector<std::uint64_t> all(blocks);
  for (std::uint64_t block = 0; block < blocks; ++block) all[block] = block;
  std::mt19937_64 random(seed);
  count = std::min(count, blocks);
  for (std::uint64_t place = 0; place < count; ++place) {
    std::swap(all[place], all[place + random() % (blocks - place)]);
  }
  all.resize(count);
  return all;
}

// write FILE OFFSET BYTES SYNC: one write into the file; SYNC 1: with fsync.
void write_once(const Arguments& a) {
  const std::vector<char> data = pattern(number(a[2]), 1);
  const Timer timer;
  const int file = open_file(a[0], O_WRONLY);
  write_at(file, data, number(a[1]));
  if (a[3] == "1") checked(::fsync(file), "fsync");
  close_file(file);
  timer.print("write");
}

// append FILE BYTES: one write at the end.
void append(const Arguments& a) {
  const std::vector<char> data = pattern(number(a[1]), 2);
  const Timer timer;
  const int file = open_file(a[0], O_WRONLY | O_APPEND);
  checked(::write(file, data.data(), data.size()), "append");
  close_file(file);
  timer.print("append");
}

// append-many FILE COUNT: the file anew, then COUNT writes of a block at its end.
void append_many(const Arguments& a) {
  const std::vector<char> data = pattern(kBlockBytes, 3);
  const Timer timer;
  const int file = open_file(a[0], O_WRONLY | O_CREAT | O_TRUNC | O_APPEND);
  for (std::uint64_t i = 0; i < number(a[1]); ++i) checked(::write(file, data.data(), data.size()), "append");
  close_file(file);
  timer.print("append");
}

// write-random FILE COUNT SEED: COUNT distinct blocks; told until the last write and until an fsync after it.
void write_random(const Arguments& a) {
  const std::vector<char> data = pattern(kBlockBytes, 4);
  const Timer timer;
  const int file = open_file(a[0], O_WRONLY);
  for (std::uint64_t block : distinct_blocks(size_of(file) / kBlockBytes, number(a[1]), number(a[2]))) {
    write_at(file, data, block * kBlockBytes);
  }
  timer.print("write");
  checked(::fsync(file), "fsync");
  close_file(file);
  timer.print("fsync");
}

// read-random FILE COUNT SEED: COUNT blocks anywhere, some of them again.
void read_random(const Arguments& a) {
  std::vector<char> data(kBlockBytes);
  std::mt19937_64 random(number(a[2]));
  const Timer timer;
  const int file = open_file(a[0], O_RDONLY);
  const std::uint64_t blocks = size_of(file) / kBlockBytes;
  for (std::uint64_t i = 0; i < number(a[1]); ++i) read_at(file, data, random() % blocks * kBlockBytes);
  close_file(file);
  timer.print("read");
}

// write-sequential FILE MIB: the file anew.
void write_sequential(const Arguments& a) {
  const std::vector<char> data = pattern(kPieceBytes, 5);
  const Timer timer;
  const int file = open_file(a[0], O_WRONLY | O_CREAT | O_TRUNC);
  for (std::uint64_t i = 0; i < number(a[1]); ++i) write_at(file, data, i * kPieceBytes);
  close_file(file);
  timer.print("write");
}

// read-sequential FILE
void read_sequential(const Arguments& a) {
  std::vector<char> data(kPieceBytes);
  const Timer timer;
  const int file = open_file(a[0], O_RDONLY);
  while (checked(::read(file, data.data(), data.size()), "read") > 0) {
  }
  close_file(file);
  timer.print("read");
}

// Maps the whole file and calls `touch` with the address of each page. Returns: after the unmapping.
void for_each_page(const std::string& path, int flags, int protection,
                   const std::function<void(char*)>& touch) {
  const int file = open_file(path, flags);
  const std::uint64_t size = size_of(file);
  void* mapped = ::mmap(nullptr, size, protection, MAP_SHARED, file, 0);
  if (mapped == MAP_FAILED) fail("mmap " + path);
  char* bytes = static_cast<char*>(mapped);
  for (std::uint64_t offset = 0; offset < size; offset += kBlockBytes) touch(bytes + offset);
  checked(::munmap(mapped, size), "munmap");
  close_file(file);
}

// map-read FILE: a load from each page.
void map_read(const Arguments& a) {
  const Timer timer;
  for_each_page(a[0], O_RDONLY, PROT_READ,
                [](char* page) { seen_bytes = seen_bytes + static_cast<unsigned char>(*page); });
  timer.print("load");
}

// map-write FILE: a store into each page.
void map_write(const Arguments& a) {
  const Timer timer;
  for_each_page(a[0], O_RDWR, PROT_READ | PROT_WRITE, [](char* page) { *page = 1; });
  timer.print("store");
}

// rename OLD NEW
void rename_once(const Arguments& a) {
  const Timer timer;
  if (::rename(a[0].c_str(), a[1].c_str()) != 0) {
    if (errno == EXDEV) std::exit(kCrossesDevices);
    fail("rename " + a[0]);
  }
  timer.print("rename");
}

// stat-random LIST ROOT COUNT SEED: lstat of COUNT paths of the file LIST (a line each), below ROOT.
void stat_random(const Arguments& a) {
  std::vector<std::string> paths;
  std::ifstream list(a[0]);
  for (std::string line; std::getline(list, line);) paths.push_back(a[1] + "/" + line);
  if (paths.empty()) fail("no paths in " + a[0]);
  std::mt19937_64 random(number(a[3]));
  std::vector<const char*> chosen;
  for (std::uint64_t i = 0; i < number(a[2]); ++i) chosen.push_back(paths[random() % paths.size()].c_str());
  std::uint64_t sum = 0;
  struct stat status {};
  const Timer timer;
  for (const char* path : chosen) {
    checked(::lstat(path, &status), std::string("lstat ") + path);
    sum += S_ISREG(status.st_mode) ? static_cast<std::uint64_t>(status.st_size) : 1;
  }
  timer.print("stat");
  std::printf("answer %llu\n", static_cast<unsigned long long>(sum));
}

// make-files DIRECTORY DIRECTORIES FILES BYTES SEED: a tree, FILES in each directory, of BYTES random bytes each.
void make_files(const Arguments& a) {
  const std::vector<char> data = pattern(number(a[3]) * 2 + 1, number(a[4]));
  std::mt19937_64 random(number(a[4]));
  for (std::uint64_t d = 0; d < number(a[1]); ++d) {
    const std::string directory = a[0] + "/" + std::to_string(d);
    checked(::mkdir(directory.c_str(), 0755), "mkdir " + directory);
    for (std::uint64_t f = 0; f < number(a[2]); ++f) {
      const int file = open_file(directory + "/" + std::to_string(f), O_WRONLY | O_CREAT | O_EXCL);
      const char* begin = data.data() + random() % (number(a[3]) + 1);
      if (number(a[3]) > 0) checked(::write(file, begin, number(a[3])), "write");
      close_file(file);
    }
  }
}

// each OPERATION DIRECTORY COUNT: one operation on DIRECTORY/0, DIRECTORY/1, ...
void each(const Arguments& a) {
  using Operation = std::function<void(const std::string&)>;
  std::vector<char> data(kBlockBytes);
  const std::map<std::string, Operation> operations = {
      {"stat",
       [](const std::string& path) {
         struct stat status {};
         checked(::stat(path.c_str(), &status), "stat " + path);
       }},
      {"read",
       [&](const std::string& path) {
         const int file = open_file(path, O_RDONLY);
         checked(::read(file, data.data(), data.size()), "read " + path);
         close_file(file);
       }},
      {"create", [](const std::string& path) { close_file(open_file(path, O_WRONLY | O_CREAT | O_EXCL)); }},
      {"unlink", [](const std::string& path) { checked(::unlink(path.c_str()), "unlink " + path); }},
      {"rename",
       [](const std::string& path) {
         checked(::rename(path.c_str(), (path + ".renamed").c_str()), "rename " + path);
       }},
      {"mkdir", [](const std::string& path) { checked(::mkdir(path.c_str(), 0755), "mkdir " + path); }},
  };
  const auto found = operations.find(a[0]);
  if (found == operations.end()) fail("no operation " + a[0]);
  const Timer timer;
  for (std::uint64_t i = 0; i < number(a[2]); ++i) found->second(a[1] + "/" + std::to_string(i));
  timer.print(a[0].c_str());
}

struct Command {
  const char* name;
  std::size_t arguments;
  void (*run)(const Arguments&);
};

constexpr Command kCommands[] = {
    {"write", 4, write_once},
    {"append", 2, append},
    {"append-many", 2, append_many},
    {"write-random", 3, write_random},
    {"read-random", 3, read_random},
    {"write-sequential", 2, write_sequential},
    {"read-sequential", 1, read_sequential},
    {"map-read", 1, map_read},
    {"map-write", 1, map_write},
    {"rename", 2, rename_once},
    {"stat-random", 4, stat_random},
    {"make-files", 5, make_files},
    {"each", 3, each},
};

}  // namespace

int main(int argc, char** argv) {
  const Arguments words(argv + 1, argv + argc);
  for (const Command& command : kCommands) {
    if (words.empty() || words[0] != command.name || words.size() != command.arguments + 1) continue;
    command.run(Arguments(words.begin() + 1, words.end()));
    return 0;
  }
  std::fprintf(stderr, "usage: client COMMAND ARGUMENT... (see the top of bench/client.cc)\n");
  return 2;
}
