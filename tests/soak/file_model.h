#pragma once

// ModelFile: what a file of the tree must hold, byte for byte, and the checks of the real one against it. Thread rule: one
// thread. Shared by its names and by the descriptors that are open on it.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "fs/base/unique_fd.h"

namespace varve::test {

struct ModelFile {
  std::string bytes;
  unsigned names = 0;
  bool unsynced = false;  // a mapping was stored to since the last fsync: a kill may lose that

  // As write(2) at `offset` does; what lies between the end and `offset` becomes zeros.
  void write(std::size_t offset, std::string_view data);
  // Zeros from `offset` on, as far as the file goes.
  void zero(std::size_t offset, std::size_t size);
};
using FilePtr = std::shared_ptr<ModelFile>;

struct OpenFile {
  UniqueFd fd;
  FilePtr file;
  std::string name;  // it was opened by
  int flags = 0;

  bool writable() const;
  bool direct() const;
  bool appends() const;
  std::string text() const;  // "fd 7 (d/x, RDWR|APPEND)"
};

// Throws Fault unless `seen` equals `expected`; tells the first byte that differs. `what`: of which file, from which `offset`.
void expect_bytes(std::string_view seen, std::string_view expected, std::size_t offset,
                  const std::string& what);
// Throws Fault unless `seen` is `expected`.
void expect_number(std::uint64_t seen, std::uint64_t expected, const std::string& what);
// Walks SEEK_DATA and SEEK_HOLE over the file: holes must be zeros in the model, and together with the data make up the file.
void expect_holes(const OpenFile& open);

}  // namespace varve::test
