#include "imagetool/image/writer/layer_frame_compressor.h"

#include <fmt/format.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>

#include "fs/format/hash.h"
#include "fs/format/layer_decode.h"
#include "fs/layer/read_fully.h"

namespace varve::image {
namespace {

constexpr std::uint64_t kFramesPerJob = 4;
// Of large frames so many bytes a thread, but two: one is compressed, one waits.
constexpr std::uint64_t kBytesPerJob = 12 << 20;
// A frame that shrinks by less than 3 % is stored: its decoding would cost more than its bytes.
constexpr std::uint64_t kLeastGainPercent = 3;

struct FreeCompressor {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};
using CompressorPtr = std::unique_ptr<ZSTD_CCtx, FreeCompressor>;

CompressorPtr make_compressor(int level) {
  CompressorPtr context(ZSTD_createCCtx());
  VARVE_CHECK(context != nullptr);
  const auto set = [&](ZSTD_cParameter parameter, int value) {
    VARVE_CHECK(!ZSTD_isError(ZSTD_CCtx_setParameter(context.get(), parameter, value)));
  };
  set(ZSTD_c_compressionLevel, level);
  set(ZSTD_c_contentSizeFlag, 1);
  set(ZSTD_c_checksumFlag, 0);  // the frame record's XXH3 covers it
  set(ZSTD_c_dictIDFlag, 0);
  return context;
}

void store(const Bytes& content, Bytes& out) {
  out.resize(content.size() + format::kStoredFrameHeaderBytes);
  const Le32 header[2] = {format::kStoredFrameMagic, static_cast<std::uint32_t>(content.size())};
  std::memcpy(out.data(), header, sizeof header);
  std::memcpy(out.data() + sizeof header, content.data(), content.size());
}

// Returns: whether `out` is stored, not compressed. `scratch` serves one frame after the other: a new buffer of the
// largest possible size for each would cost more to clear than its use is worth.
bool compress(ZSTD_CCtx* context, const Bytes& content, Bytes& scratch, Bytes& out) {
  const std::size_t most = ZSTD_compressBound(content.size());
  if (scratch.size() < most) scratch.resize(most);
  const std::size_t size =
      ZSTD_compress2(context, scratch.data(), scratch.size(), content.data(), content.size());
  VARVE_CHECK(
      !ZSTD_isError(size));  // the output is large enough and the parameters are good: nothing else can fail
  if (size * 100 > content.size() * (100 - kLeastGainPercent)) {
    store(content, out);
    return true;
  }
  out.assign(scratch.begin(), scratch.begin() + static_cast<std::ptrdiff_t>(size));
  return false;
}

ResultOrFailure<Bytes> decode(const Bytes& stored, const format::Frame& record) {
  Bytes content(record.content_size);
  if ((format::frame_flags(record) & format::kFrameStored) != 0) {
    std::memcpy(content.data(), stored.data() + format::kStoredFrameHeaderBytes, content.size());
    return content;
  }
  const std::size_t size = ZSTD_decompress(content.data(), content.size(), stored.data(), stored.size());
  if (size != content.size())
    return Failure{EIO, "a frame just written does not decode (check memory and disk)"};
  return content;
}

}  // namespace

LayerFrameCompressor::LayerFrameCompressor(LayerOutput& output, Options options)
    : output_(output),
      options_(options),
      most_under_way_(
          std::clamp<std::uint64_t>(kBytesPerJob / options.largest_frame_bytes, 2, kFramesPerJob) *
          options.jobs) {
  for (unsigned i = 0; i < options_.jobs; ++i) threads_.emplace_back([this] { work(); });
}

LayerFrameCompressor::~LayerFrameCompressor() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    jobs_.clear();
  }
  job_added_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

ResultOrFailure<std::uint64_t> LayerFrameCompressor::submit(Bytes content) {
  VARVE_CHECK(!content.empty() && content.size() <= options_.largest_frame_bytes);
  MutexLock lock(mutex_);
  while (!failure_ && submitted_ - frames_.size() >= most_under_way_) frame_written_.wait(mutex_);
  if (failure_) return *failure_;
  const std::uint64_t frame = submitted_++;
  jobs_.push_back(Job{frame, std::move(content)});
  job_added_.notify_one();
  return frame;
}

ResultOrFailure<Bytes> LayerFrameCompressor::read_back(std::uint64_t frame) {
  format::Frame record;
  {
    MutexLock lock(mutex_);
    VARVE_CHECK(frame < submitted_);
    while (!failure_ && frames_.size() <= frame) frame_written_.wait(mutex_);
    if (failure_) return *failure_;
    record = frames_[frame];
  }
  Bytes stored(record.stored_size);
  if (const Status status = layer::read_fully(output_.readable_fd(), format::frame_offset(record), stored);
      !status.ok()) {
    return failure_from(status.error(), "reading back " + output_.name());
  }
  return decode(stored, record);
}

ResultOrFailure<std::vector<format::Frame>> LayerFrameCompressor::drain() {
  MutexLock lock(mutex_);
  while (!failure_ && frames_.size() < submitted_) frame_written_.wait(mutex_);
  if (failure_) return *failure_;
  return frames_;
}

std::uint64_t LayerFrameCompressor::data_end() {
  MutexLock lock(mutex_);
  return data_end_;
}

std::optional<LayerFrameCompressor::Job> LayerFrameCompressor::next_job() {
  MutexLock lock(mutex_);
  while (jobs_.empty() && !stopping_) job_added_.wait(mutex_);
  if (stopping_) return std::nullopt;
  Job job = std::move(jobs_.front());
  jobs_.pop_front();
  return job;
}

void LayerFrameCompressor::work() {
  const CompressorPtr context = make_compressor(options_.level);
  Bytes scratch;
  while (std::optional<Job> job = next_job()) {
    Compressed compressed;
    compressed.content_bytes = static_cast<std::uint32_t>(job->content.size());
    if (compress(context.get(), job->content, scratch, compressed.stored))
      compressed.flags = format::kFrameStored;
    compressed.xxh3 = format::xxh3_64(compressed.stored);
    deliver(job->frame, std::move(compressed));
  }
}

void LayerFrameCompressor::fail_locked(Failure failure) {
  if (!failure_) failure_ = std::move(failure);
  frame_written_.notify_all();
}

// The lock is let go around each write: others go on compressing and leave their frames in complete_.
void LayerFrameCompressor::deliver(std::uint64_t frame, Compressed compressed) {
  mutex_.lock();
  complete_.emplace(frame, std::move(compressed));
  if (writing_) {
    mutex_.unlock();
    return;
  }
  writing_ = true;
  while (!failure_) {
    const auto next = complete_.find(frames_.size());
    if (next == complete_.end()) break;
    const Compressed ready = std::move(next->second);
    complete_.erase(next);
    const std::uint64_t offset = data_end_;
    mutex_.unlock();
    StatusOrFailure written = output_.write_at(offset, ready.stored);
    mutex_.lock();
    if (!written.ok()) {
      fail_locked(std::move(written).error());
      break;
    }
    format::Frame record{};
    record.offset_and_flags = offset << 16 | ready.flags;
    record.stored_size = static_cast<std::uint32_t>(ready.stored.size());
    record.content_size = ready.content_bytes;
    record.xxh3 = ready.xxh3;
    frames_.push_back(record);
    data_end_ = offset + ready.stored.size();
    frame_written_.notify_all();
  }
  writing_ = false;
  mutex_.unlock();
}

}  // namespace varve::image
