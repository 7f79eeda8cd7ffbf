#pragma once

// MemoryFile: bytes as a file without a name, for what wants a path. Thread rule: one thread.

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>

#include "fs/base/check.h"
#include "fs/base/unique_fd.h"

namespace varve::fuzz {

class MemoryFile {
 public:
  explicit MemoryFile(std::string_view bytes) : fd_(::memfd_create("fuzz", MFD_CLOEXEC)) {
    VARVE_CHECK(fd_.valid());
    while (!bytes.empty()) {
      const ssize_t put = ::write(fd_.get(), bytes.data(), bytes.size());
      VARVE_CHECK(put > 0 || errno == EINTR);
      if (put > 0) bytes.remove_prefix(static_cast<std::size_t>(put));
    }
  }
  // Opening it gives a description of its own, at offset 0.
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_.get()); }

 private:
  UniqueFd fd_;
};

}  // namespace varve::fuzz
