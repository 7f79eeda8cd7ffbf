#include "tests/soak/names_worker.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

namespace varve::test {
namespace {

constexpr std::size_t kPageBytes = 4096;

}  // namespace

const NamesWorker::Operation NamesWorker::kOperations[] = {
    {10, &NamesWorker::create},
    {5, &NamesWorker::create_exclusively},
    {4, &NamesWorker::create_unnamed},
    {10, &NamesWorker::write},
    {8, &NamesWorker::read},
    {6, &NamesWorker::map_and_store},
    {6, &NamesWorker::truncate},
    {4, &NamesWorker::change_mode},
    {8, &NamesWorker::link},
    {8, &NamesWorker::unlink},
    {10, &NamesWorker::rename},
    {5, &NamesWorker::rename_noreplace},
    {8, &NamesWorker::rename_exchange},
    {8, &NamesWorker::make_directory},
    {5, &NamesWorker::remove_directory},
    {4, &NamesWorker::list},
    {6, &NamesWorker::stat},
};

NamesWorker::NamesWorker(std::string root, std::uint64_t seed, std::function<void(const std::string&)> tell)
    : root_(std::move(root)), random_(seed), tell_(std::move(tell)) {}

void NamesWorker::step() {
  unsigned all = 0;
  for (const Operation& operation : kOperations) all += operation.weight;
  std::uint64_t choice = random_.below(all);
  for (const Operation& operation : kOperations) {
    if (choice < operation.weight) return (this->*operation.run)();
    choice -= operation.weight;
  }
}

NamesWorker::Path NamesWorker::any_path() {
  const std::string above =
      fmt::format("{}/{}", kTop[random_.below(std::size(kTop))], kNames[random_.below(std::size(kNames))]);
  if (!random_.one_in(4)) return {above, false};
  return {fmt::format("{}/{}", above, kInside), true};
}

void NamesWorker::did(const std::string& what) {
  doing_ = what;
  tell_(what);
  log_.add(what);
}

bool NamesWorker::accept(long result, std::initializer_list<int> allowed, bool deep) {
  if (result >= 0) return true;
  const int error = errno;
  if (deep && (error == ENOENT || error == ENOTDIR)) return false;
  if (std::find(allowed.begin(), allowed.end(), error) != allowed.end()) return false;
  throw Fault(fmt::format("{}: {}", doing_, strerrorname_np(error)));
}

UniqueFd NamesWorker::open(const Path& path, int flags, std::initializer_list<int> allowed) {
  UniqueFd fd(::open(full(path).c_str(), flags | O_CLOEXEC, 0644));
  accept(fd.get(), allowed, path.deep);
  return fd;
}

void NamesWorker::close(UniqueFd fd) {
  doing_ += ", close";
  accept(::close(fd.release()), {});
}

void NamesWorker::fill(int fd) {
  const std::string bytes = random_.bytes(random_.between(1, 20'000));
  const auto offset = static_cast<off_t>(random_.below(100'000));
  doing_ += fmt::format(", pwrite {}+{}", offset, bytes.size());
  const long written = ::pwrite(fd, bytes.data(), bytes.size(), offset);
  accept(written, {});
  if (static_cast<std::size_t>(written) != bytes.size())
    throw Fault(fmt::format("{}: wrote {}", doing_, written));
}

void NamesWorker::create() {
  const Path path = any_path();
  did("create " + path.text);
  UniqueFd fd = open(path, O_RDWR | O_CREAT, {EISDIR});
  if (!fd.valid()) return;
  fill(fd.get());
  close(std::move(fd));
}

void NamesWorker::create_exclusively() {
  const Path path = any_path();
  did("create exclusively " + path.text);
  UniqueFd fd = open(path, O_RDWR | O_CREAT | O_EXCL, {EEXIST});
  if (!fd.valid()) return;
  fill(fd.get());
  close(std::move(fd));
}

void NamesWorker::create_unnamed() {
  const Path path = any_path();
  did("create without a name, then link " + path.text);
  const std::string directory = path.text.substr(0, path.text.rfind('/'));
  UniqueFd fd = open({directory, path.deep}, O_RDWR | O_TMPFILE, {ENOTDIR});
  if (!fd.valid()) return;
  fill(fd.get());
  const std::string self = fmt::format("/proc/self/fd/{}", fd.get());
  accept(::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, full(path).c_str(), AT_SYMLINK_FOLLOW), {EEXIST},
         path.deep);
  close(std::move(fd));
}

void NamesWorker::write() {
  const Path path = any_path();
  const bool empties = random_.one_in(5);
  did(fmt::format("write{} {}", empties ? " anew" : "", path.text));
  UniqueFd fd = open(path, O_RDWR | (empties ? O_TRUNC : 0), {ENOENT, EISDIR});
  if (!fd.valid()) return;
  fill(fd.get());
  if (random_.one_in(10)) accept(::fsync(fd.get()), {});
  close(std::move(fd));
}

void NamesWorker::read() {
  const Path path = any_path();
  did("read " + path.text);
  UniqueFd fd = open(path, O_RDONLY, {ENOENT});
  if (!fd.valid()) return;
  struct stat status {};
  accept(::fstat(fd.get(), &status), {});
  std::vector<char> buffer(64 * 1024);
  for (long count = 1; S_ISREG(status.st_mode) && count > 0;) {
    count = ::read(fd.get(), buffer.data(), buffer.size());
    accept(count, {});
  }
  close(std::move(fd));
}

void NamesWorker::map_and_store() {
  const Path path = any_path();
  did("map and store " + path.text);
  UniqueFd fd = open(path, O_RDWR, {ENOENT, EISDIR});
  if (!fd.valid()) return;
  const std::size_t size = kPageBytes * random_.between(1, 8);
  void* address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  accept(address == MAP_FAILED ? -1 : 0, {});
  const std::unique_ptr<void, std::function<void(void*)>> mapping(address,
                                                                  [size](void* at) { ::munmap(at, size); });
  doing_ += ", ftruncate";
  accept(::ftruncate(fd.get(), static_cast<off_t>(size)), {});
  // The kernel stores: where another process has truncated the file, that is EFAULT and no SIGBUS.
  const std::string bytes = random_.bytes(random_.between(1, size));
  const UniqueFd source(::memfd_create("bytes", MFD_CLOEXEC));
  accept(::write(source.get(), bytes.data(), bytes.size()), {});
  doing_ += ", store";
  accept(::pread(source.get(), address, bytes.size(), 0), {EFAULT});
  doing_ += ", msync";
  if (random_.one_in(2)) accept(::msync(address, size, MS_SYNC), {});
  close(std::move(fd));
}

void NamesWorker::truncate() {
  const Path path = any_path();
  const std::uint64_t size = random_.below(100'000);
  did(fmt::format("truncate {} to {}", path.text, size));
  accept(::truncate(full(path).c_str(), static_cast<off_t>(size)), {ENOENT, EISDIR}, path.deep);
}

void NamesWorker::change_mode() {
  const Path path = any_path();
  did("chmod " + path.text);
  accept(::chmod(full(path).c_str(), 0700 | static_cast<mode_t>(random_.below(64))), {ENOENT}, path.deep);
}

void NamesWorker::link() {
  const Path from = any_path();
  const Path to = any_path();
  did(fmt::format("link {} -> {}", from.text, to.text));
  accept(::link(full(from).c_str(), full(to).c_str()), {ENOENT, EEXIST, EPERM}, from.deep || to.deep);
}

void NamesWorker::unlink() {
  const Path path = any_path();
  did("unlink " + path.text);
  accept(::unlink(full(path).c_str()), {ENOENT, EISDIR}, path.deep);
}

void NamesWorker::rename_with(unsigned flags, const char* what, std::initializer_list<int> allowed) {
  const Path from = any_path();
  const Path to = any_path();
  did(fmt::format("{} {} -> {}", what, from.text, to.text));
  const long result = ::renameat2(AT_FDCWD, full(from).c_str(), AT_FDCWD, full(to).c_str(), flags);
  // One came to lie below the other, by its parent's move.
  const bool deep = from.deep || to.deep;
  if (result < 0 && errno == EINVAL && deep) return;
  accept(result, allowed, deep);
}

void NamesWorker::rename() {
  rename_with(0, "rename", {ENOENT, EISDIR, ENOTDIR, ENOTEMPTY});
}

void NamesWorker::rename_noreplace() {
  rename_with(RENAME_NOREPLACE, "rename if free", {ENOENT, EEXIST});
}

void NamesWorker::rename_exchange() {
  rename_with(RENAME_EXCHANGE, "exchange", {ENOENT});
}

void NamesWorker::make_directory() {
  const Path path = any_path();
  did("mkdir " + path.text);
  accept(::mkdir(full(path).c_str(), 0755), {EEXIST}, path.deep);
}

void NamesWorker::remove_directory() {
  const Path path = any_path();
  did("rmdir " + path.text);
  accept(::rmdir(full(path).c_str()), {ENOENT, ENOTDIR, ENOTEMPTY}, path.deep);
}

void NamesWorker::list() {
  const Path path = random_.one_in(2) ? Path{kTop[random_.below(std::size(kTop))], false} : any_path();
  did("list " + path.text);
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::opendir(full(path).c_str()), &::closedir);
  if (!accept(stream ? 0 : -1, {ENOENT, ENOTDIR}, path.deep)) return;
  errno = 0;
  while (::readdir(stream.get()) != nullptr) errno = 0;
  accept(errno == 0 ? 0 : -1, {});
}

void NamesWorker::stat() {
  const Path path = any_path();
  did("lstat " + path.text);
  struct stat status {};
  accept(::lstat(full(path).c_str(), &status), {ENOENT}, path.deep);
}

}  // namespace varve::test
