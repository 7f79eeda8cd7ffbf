#pragma once

// LayerFrameCompressor: turns contents into frames on several threads and appends them to the output in the
// order in which they were submitted, so that the output does not depend on the number of threads. At most
// kFramesPerJob frames a thread are in memory, fewer of large ones. Thread rule: one thread calls it. Ownership: borrows the
// output, owns its threads, which end in the destructor.

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "fs/base/mutex.h"
#include "fs/base/result.h"
#include "fs/format/layer_layout.h"
#include "imagetool/image/writer/layer_output.h"

namespace varve::image {

using Bytes = std::vector<std::byte>;

class LayerFrameCompressor {
 public:
  struct Options {
    int level = 3;
    unsigned jobs = 1;  // at least 1
    std::uint32_t largest_frame_bytes = format::kMaxFrameBytes;
  };

  LayerFrameCompressor(LayerOutput& output, Options options);
  LayerFrameCompressor(const LayerFrameCompressor&) = delete;
  LayerFrameCompressor& operator=(const LayerFrameCompressor&) = delete;
  ~LayerFrameCompressor();

  // Waits while too many frames are under way. Returns: the number of the frame; the first failure of any
  // frame. Requires: 1..largest_frame_bytes bytes.
  ResultOrFailure<std::uint64_t> submit(Bytes content);
  bool can_read_back() const { return output_.readable_fd() >= 0; }
  // The content of a frame submitted before; waits until it is written. Requires: can_read_back().
  ResultOrFailure<Bytes> read_back(std::uint64_t frame);
  // Waits until everything is written. Returns: one record a frame.
  ResultOrFailure<std::vector<format::Frame>> drain();
  // End of what is written. Requires: drain() was called.
  std::uint64_t data_end();

 private:
  struct Job {
    std::uint64_t frame = 0;
    Bytes content;
  };
  struct Compressed {
    Bytes stored;
    std::uint32_t content_bytes = 0;
    std::uint16_t flags = 0;
    std::uint64_t xxh3 = 0;
  };

  void work();
  std::optional<Job> next_job();
  // Appends what is complete, in order, unless another thread is at it.
  void deliver(std::uint64_t frame, Compressed compressed);
  void fail_locked(Failure failure) REQUIRES(mutex_);

  LayerOutput& output_;
  const Options options_;
  const std::uint64_t most_under_way_;  // frames

  Mutex mutex_;
  CondVar job_added_;
  CondVar frame_written_;
  std::deque<Job> jobs_ GUARDED_BY(mutex_);
  std::map<std::uint64_t, Compressed> complete_ GUARDED_BY(mutex_);  // compressed, not yet written
  bool writing_ GUARDED_BY(mutex_) = false;                          // a thread is in deliver()'s loop
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::uint64_t submitted_ GUARDED_BY(mutex_) = 0;
  std::vector<format::Frame> frames_ GUARDED_BY(mutex_);  // written ones
  std::uint64_t data_end_ GUARDED_BY(mutex_) = format::kDataOffset;
  std::optional<Failure> failure_ GUARDED_BY(mutex_);

  std::vector<std::thread> threads_;  // last: they use all of the above
};

}  // namespace varve::image
