#include "imagetool/transport/resuming_stream.h"

namespace varve::transport {
namespace {

bool may_go_well_again(const Failure& failure) {
  return failure.error_number == EIO || failure.error_number == ETIMEDOUT;
}

}  // namespace

ResultOrFailure<std::unique_ptr<ByteStream>> ResumingStream::open(Open open, std::uint64_t offset_bytes) {
  VARVE_ASSIGN(std::unique_ptr<ByteStream> stream, open(offset_bytes));
  return std::unique_ptr<ByteStream>(new ResumingStream(std::move(open), std::move(stream), offset_bytes));
}

ResultOrFailure<std::size_t> ResumingStream::read(std::span<std::byte> into) {
  for (;;) {
    Failure failure;
    if (!stream_) {
      auto opened = open_(offset_bytes_);
      if (opened.ok()) {
        stream_ = std::move(opened).value();
      } else {
        failure = std::move(opened).error();
      }
    }
    if (stream_) {
      auto count = stream_->read(into);
      if (count.ok()) {
        offset_bytes_ += *count;
        if (offset_bytes_ - mark_bytes_ >= kProgressBytes) {
          mark_bytes_ = offset_bytes_;
          breaks_ = 0;
        }
        return count;
      }
      failure = std::move(count).error();
      stream_.reset();
    }
    if (!may_go_well_again(failure)) return failure;
    if (++breaks_ > kMostBreaks) {
      failure.message += " (broken off " + std::to_string(breaks_) + " times)";
      return failure;
    }
  }
}

}  // namespace varve::transport
