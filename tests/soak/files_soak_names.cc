// The operations of FilesSoak on names and descriptors.

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/soak/files_soak.h"

namespace varve::test {

void FilesSoak::open_one() {
  const std::string name = any_name();
  int flags = O_RDONLY;
  switch (random_.below(4)) {
    case 0:
      break;
    case 1:
      flags = O_RDWR | O_APPEND;
      break;
    default:
      flags = O_RDWR;
  }
  if ((flags & O_APPEND) == 0 && random_.one_in(4)) flags |= O_DIRECT;
  const bool empties = (flags & O_RDWR) != 0 && random_.one_in(30);
  OpenFile open{.fd = UniqueFd(), .file = names_.at(name), .name = name, .flags = flags};
  open.fd.reset(::open(tree_.at(name).c_str(), flags | (empties ? O_TRUNC : 0) | O_CLOEXEC));
  did(fmt::format("open{} {}", empties ? " and empty" : "", open.text()));
  expect_ok(open.fd.get(), "open");
  if (empties) open.file->bytes.clear();
  keep_open(std::move(open));
}

void FilesSoak::close_one() {
  if (open_.empty()) return open_one();
  const auto chosen = open_.begin() + static_cast<std::ptrdiff_t>(random_.below(open_.size()));
  did("close " + chosen->text());
  expect_ok(::close(chosen->fd.release()), "close");
  open_.erase(chosen);
}

void FilesSoak::truncate_path() {
  const std::string name = any_name();
  ModelFile& file = *names_.at(name);
  const std::size_t size = any_size(file);
  did(fmt::format("truncate {} {} -> {}", name, file.bytes.size(), size));
  expect_ok(::truncate(tree_.at(name).c_str(), static_cast<off_t>(size)), "truncate");
  file.bytes.resize(size, '\0');
}

void FilesSoak::forget_name(const std::string& name) {
  const auto found = names_.find(name);
  if (found == names_.end()) return;
  --found->second->names;
  names_.erase(found);
}

void FilesSoak::rename_one() {
  const std::string from = any_name();
  const std::string free = free_name();
  const std::string to = free.empty() || random_.one_in(2) ? any_name() : free;
  did(fmt::format("rename {} -> {}{}", from, to, names_.count(to) != 0 ? " (exists)" : ""));
  expect_ok(::rename(tree_.at(from).c_str(), tree_.at(to).c_str()), "rename");
  const FilePtr moved = names_.at(from);
  if (names_.count(to) != 0 && names_.at(to) == moved) return;  // two names of one file: nothing happens
  forget_name(to);
  names_.erase(from);
  names_[to] = moved;
}

void FilesSoak::link_one() {
  const std::string to = free_name();
  if (to.empty()) return unlink_one();
  const std::string from = any_name();
  did(fmt::format("link {} -> {}", from, to));
  expect_ok(::link(tree_.at(from).c_str(), tree_.at(to).c_str()), "link");
  names_[to] = names_.at(from);
  ++names_[to]->names;
}

void FilesSoak::unlink_one() {
  const std::string name = any_name();
  did("unlink " + name);
  expect_ok(::unlink(tree_.at(name).c_str()), "unlink");
  forget_name(name);
}

void FilesSoak::create_one() {
  const std::string name = free_name();
  if (name.empty()) return unlink_one();
  OpenFile open{.fd = UniqueFd(), .file = std::make_shared<ModelFile>(), .name = name, .flags = O_RDWR};
  if (random_.one_in(4)) {
    open.fd.reset(::open(tree_.root().c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0644));
    did("create without a name, then link " + open.text());
    expect_ok(open.fd.get(), "open with O_TMPFILE");
    expect_ok(::linkat(AT_FDCWD, fmt::format("/proc/self/fd/{}", open.fd.get()).c_str(), AT_FDCWD,
                       tree_.at(name).c_str(), AT_SYMLINK_FOLLOW),
              "linkat");
  } else {
    open.fd.reset(::open(tree_.at(name).c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    did("create " + open.text());
    expect_ok(open.fd.get(), "open with O_CREAT|O_EXCL");
  }
  open.file->names = 1;
  names_[name] = open.file;
  keep_open(std::move(open));
}

void FilesSoak::replace_one() {
  const std::string name = any_name();
  did("unlink and create anew: " + name);
  expect_ok(::unlink(tree_.at(name).c_str()), "unlink");
  forget_name(name);
  OpenFile open{.fd = UniqueFd(), .file = std::make_shared<ModelFile>(), .name = name, .flags = O_RDWR};
  open.fd.reset(::open(tree_.at(name).c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  expect_ok(open.fd.get(), "open with O_CREAT|O_EXCL");
  open.file->names = 1;
  names_[name] = open.file;
  keep_open(std::move(open));
}

void FilesSoak::check_stat(const struct stat& status, const ModelFile& file, const std::string& what) {
  expect_number(static_cast<std::uint64_t>(status.st_size), file.bytes.size(), "st_size of " + what);
  expect_number(status.st_nlink, file.names, "st_nlink of " + what);
}

void FilesSoak::stat_one() {
  struct stat status {};
  if (random_.one_in(2)) {
    const OpenFile& open = any_open();
    did("fstat " + open.text());
    expect_ok(::fstat(open.fd.get(), &status), "fstat");
    return check_stat(status, *open.file, open.text());
  }
  const std::string name = any_name();
  did("lstat " + name);
  expect_ok(::lstat(tree_.at(name).c_str(), &status), "lstat");
  check_stat(status, *names_.at(name), name);
}

}  // namespace varve::test
