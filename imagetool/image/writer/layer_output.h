#pragma once

// LayerOutput: where the bytes of a layer go: a file (layer_output_file.h), or a stream or nowhere
// (layer_output_stream.h). Thread rule: write_at may be called from any thread, one call at a time; the rest from one.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "fs/base/result.h"

namespace varve::image {

class LayerOutput {
 public:
  virtual ~LayerOutput() = default;

  // What messages call it.
  virtual const std::string& name() const = 0;
  // Requires: `offset_bytes` is not before the end of what was written. What is left out reads as zeros.
  virtual StatusOrFailure write_at(std::uint64_t offset_bytes, std::span<const std::byte> bytes) = 0;
  // A descriptor to read back what was written; -1 when that is impossible.
  virtual int readable_fd() const = 0;
  // Nothing more will be written; what was is safe and has its name, where it has one.
  virtual StatusOrFailure publish() = 0;
};

}  // namespace varve::image
