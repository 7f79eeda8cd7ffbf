#pragma once

// SmallDisk: a file system of its own, of few pages, that a test can fill up. Thread rule: one thread. Owned by the test; unmounted
// at the end, also while in use.

#include <cstdint>
#include <string>

#include "tests/support/mounted/file_tools.h"

namespace varve::test {

class SmallDisk {
 public:
  static constexpr std::int64_t kPageBytes = 4096;

  enum class Kind {
    kTmpfs,
    kExt4,  // on a loop device, without a journal and with no blocks reserved; needs root of the host
  };

  // Empty where there can be one, else a sentence that begins with "needs".
  static std::string lack_of(Kind kind);

  // `options` are more of mount(8)'s, after a comma.
  explicit SmallDisk(std::int64_t size_pages, const std::string& options = {}, Kind kind = Kind::kTmpfs);
  ~SmallDisk();
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  const std::string& path() const { return scratch_.path(); }
  // Takes all space but this much, or gives space back for it; on ext4 about so much.
  void leave(std::int64_t free_pages);
  // All that leave() took.
  void give_back();

 private:
  void mount_ext4(std::int64_t size_pages, const std::string& options);

  ScratchDirectory image_;
  ScratchDirectory scratch_;
};

}  // namespace varve::test
