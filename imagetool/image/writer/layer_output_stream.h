#pragma once

// LayerOutputStream: a layer that goes to a descriptor which cannot be sought in, a pipe above all, or nowhere, when
// only its size is wanted. Thread rule: as LayerOutput. Ownership: borrows the descriptor, unless said otherwise.

#include <string>
#include <utility>

#include "fs/base/unique_fd.h"
#include "imagetool/image/writer/layer_output.h"

namespace varve::image {

class LayerOutputStream : public LayerOutput {
 public:
  // `fd` -1: what is written is dropped.
  LayerOutputStream(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}
  // Closes it in the end.
  LayerOutputStream(UniqueFd fd, std::string name)
      : owned_(std::move(fd)), fd_(owned_.get()), name_(std::move(name)) {}

  const std::string& name() const override { return name_; }
  StatusOrFailure write_at(std::uint64_t offset_bytes, std::span<const std::byte> bytes) override;
  int readable_fd() const override { return -1; }
  StatusOrFailure publish() override { return {}; }

 private:
  StatusOrFailure write(std::span<const std::byte> bytes);

  UniqueFd owned_;
  int fd_;
  std::string name_;
  std::uint64_t position_ = 0;
};

}  // namespace varve::image
