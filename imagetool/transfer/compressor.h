#pragma once

// Compressor: a stream becomes a compressed one, on several threads. What comes out is a function of what went in and of the level
// (and of the version of zlib or libzstd), not of the number of threads nor of how the input was cut. Thread rule: one thread calls.

#include <cstddef>
#include <functional>
#include <memory>
#include <span>

#include "fs/base/result.h"

namespace varve::transfer {

class Compressor {
 public:
  virtual ~Compressor() = default;
  virtual StatusOrFailure put(std::span<const std::byte> bytes) = 0;
  // Nothing more comes: the rest goes out.
  virtual StatusOrFailure finish() = 0;
};

// Takes what comes out; called by put() and finish().
using ByteSink = std::function<StatusOrFailure(std::span<const std::byte>)>;

struct CompressorOptions {
  int level = 0;  // 0: the default: 4 of gzip (1 to 9), 3 of zstd (1 to 19)
  unsigned threads = 1;
};

// One gzip member (RFC 1952) without name and time. Blocks are compressed side by side, each with the end of the one before as its
// dictionary, so that next to nothing is lost by cutting (as pigz does it: github.com/madler/pigz).
ResultOrFailure<std::unique_ptr<Compressor>> make_gzip(const CompressorOptions& options, ByteSink sink);
ResultOrFailure<std::unique_ptr<Compressor>> make_zstd(const CompressorOptions& options, ByteSink sink);

}  // namespace varve::transfer
