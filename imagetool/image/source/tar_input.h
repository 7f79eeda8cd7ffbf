#pragma once

// TarInput: the bytes of a tar archive, which libarchive may read several times even when they come from a
// pipe. Thread rule: one thread. Ownership: owns its descriptors; borrows the monitor.

#include <sys/stat.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"
#include "imagetool/image/source/tree_source.h"

struct archive;

namespace varve::image {

struct CloseArchive {
  void operator()(archive* open) const;
};
using ArchivePtr = std::unique_ptr<archive, CloseArchive>;

class TarInput {
 public:
  // `name`: what messages call it; empty: its path.
  static ResultOrFailure<std::unique_ptr<TarInput>> open(const std::string& path, const std::string& name,
                                                         const std::string& spool_directory,
                                                         Monitor& monitor);

  // kEndOfFile: what follows the end of the archive is given as if it were part of it.
  enum class Until { kEndOfArchive, kEndOfFile };
  // Starts to read from the beginning. The reader before, if any, is gone.
  ResultOrFailure<ArchivePtr> start(Until until);
  // Reads what the archive's reader left, so that the writer of a pipe does not get SIGPIPE and a second pass
  // sees all.
  StatusOrFailure drain();
  // Returns: EIO when the file was written to since it was opened. Two passes then saw two archives.
  StatusOrFailure check_unchanged() const;
  // What `reader` complains of, as a Failure that names the archive.
  Failure failure(archive* reader) const;
  const std::string& name() const { return name_; }

 private:
  TarInput(std::string name, UniqueFd file, Monitor& monitor)
      : name_(std::move(name)), file_(std::move(file)), monitor_(monitor), buffer_(1 << 18) {}
  static ssize_t on_read(archive* reader, void* self, const void** buffer);
  static std::int64_t on_skip(archive* reader, void* self, std::int64_t request);
  Result<std::size_t> fill();
  Result<std::size_t> fill_from_pipe();

  std::string name_;
  UniqueFd file_;
  Monitor& monitor_;
  std::vector<std::byte> buffer_;
  bool seekable_ = false;
  off_t begin_ = 0;   // where the archive starts in file_
  off_t offset_ = 0;  // next byte to read, seekable only
  struct stat opened_ {};
  UniqueFd spool_;  // a pipe's bytes so far
};

}  // namespace varve::image
