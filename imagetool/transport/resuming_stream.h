#pragma once

// ResumingStream: a download that is gone on with where it broke off, a bounded number of times. Thread rule: one thread.

#include <functional>
#include <memory>

#include "imagetool/transport/transport.h"

namespace varve::transport {

// How often in a row it may break off without kProgressBytes in between.
inline constexpr int kMostBreaks = 5;
inline constexpr std::uint64_t kProgressBytes = 1 << 20;

class ResumingStream : public ByteStream {
 public:
  // Opens the download at that byte. Its failures of EIO and ETIMEDOUT are such that another attempt may go well.
  using Open = std::function<ResultOrFailure<std::unique_ptr<ByteStream>>(std::uint64_t offset_bytes)>;

  // Opens it at once, so that what is not there at all is told here.
  static ResultOrFailure<std::unique_ptr<ByteStream>> open(Open open, std::uint64_t offset_bytes);

  ResultOrFailure<std::size_t> read(std::span<std::byte> into) override;

 private:
  ResumingStream(Open open, std::unique_ptr<ByteStream> stream, std::uint64_t offset_bytes)
      : open_(std::move(open)),
        stream_(std::move(stream)),
        offset_bytes_(offset_bytes),
        mark_bytes_(offset_bytes) {}

  Open open_;
  std::unique_ptr<ByteStream> stream_;  // null: broken off
  std::uint64_t offset_bytes_;          // of the next byte
  std::uint64_t mark_bytes_;            // where breaks_ was counted from
  int breaks_ = 0;
};

}  // namespace varve::transport
