#pragma once

// LayerOutputFile: a file that has no name until it is complete. Where the file system allows (O_TMPFILE) not
// even a killed process leaves anything behind; elsewhere a hidden temporary name is removed by the
// destructor. Thread rule: write_at may be called from any thread; the rest from one. Owns its descriptor.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"

namespace varve::image {

class LayerOutputFile {
 public:
  // Returns: a Failure when `path` is something else than a regular file, or its directory is not writable.
  static ResultOrFailure<std::unique_ptr<LayerOutputFile>> create(const std::string& path);
  LayerOutputFile(const LayerOutputFile&) = delete;
  LayerOutputFile& operator=(const LayerOutputFile&) = delete;
  ~LayerOutputFile();

  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }
  StatusOrFailure write_at(std::uint64_t offset_bytes, std::span<const std::byte> bytes);
  // Syncs the content and puts it at path() in place of what was there.
  StatusOrFailure publish();

 private:
  LayerOutputFile(std::string path, UniqueFd directory)
      : path_(std::move(path)), directory_(std::move(directory)) {}
  StatusOrFailure open_unnamed();
  StatusOrFailure give_temporary_name();
  Failure failure(const char* doing, Errno error) const;

  std::string path_;
  std::string base_name_;
  UniqueFd directory_;
  UniqueFd fd_;
  std::string temporary_name_;  // in directory_; empty while there is none
};

}  // namespace varve::image
