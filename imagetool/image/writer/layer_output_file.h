#pragma once

// LayerOutputFile: a layer that goes to a file, which has no name until it is complete. Where the file system allows (O_TMPFILE) not
// even a killed process leaves anything behind, but for the moment between two system calls when a file is replaced; elsewhere
// a hidden temporary name is removed by the destructor. Thread rule: write_at may be called from any thread; the rest from one. Owns its descriptor.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"
#include "imagetool/image/writer/layer_output.h"

namespace varve::image {

class LayerOutputFile : public LayerOutput {
 public:
  // Returns: a Failure when `path` is something else than a regular file, or its directory is not writable.
  static ResultOrFailure<std::unique_ptr<LayerOutputFile>> create(const std::string& path);
  LayerOutputFile(const LayerOutputFile&) = delete;
  LayerOutputFile& operator=(const LayerOutputFile&) = delete;
  ~LayerOutputFile() override;

  const std::string& name() const override { return path_; }
  StatusOrFailure write_at(std::uint64_t offset_bytes, std::span<const std::byte> bytes) override;
  int readable_fd() const override { return fd_.get(); }
  // Syncs the content and puts it at `path` in place of what was there.
  StatusOrFailure publish() override;

 private:
  LayerOutputFile(std::string path, UniqueFd directory)
      : path_(std::move(path)), directory_(std::move(directory)) {}
  StatusOrFailure open_unnamed();
  // Returns: false when something has the name already.
  Result<bool> give_new_name();
  StatusOrFailure give_temporary_name();
  Failure failure(const char* doing, Errno error) const;

  std::string path_;
  std::string base_name_;
  UniqueFd directory_;
  UniqueFd fd_;
  std::uint64_t unsent_offset_ = 0;  // from here on nothing was sent to the disk yet
  std::string temporary_name_;       // in directory_; empty while there is none
};

}  // namespace varve::image
