#pragma once

// RelayMonitor: what several threads tell of their work, told to a monitor that wants to hear it from one (image::Monitor).
// begin() and end() are not for them, and go nowhere.
// Thread rule: run() and the constructor from one thread; the rest from any.

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "fs/base/mutex.h"
#include "imagetool/image/source/tree_source.h"

namespace varve::transfer {

class RelayMonitor : public image::Monitor {
 public:
  explicit RelayMonitor(image::Monitor& monitor) : monitor_(monitor) {}

  // Calls `work` on so many threads, passes on what they tell as they work, and returns when all have returned.
  void run(unsigned threads, const std::function<void()>& work);

  void advance(std::uint64_t bytes) override { done_bytes_ += bytes; }
  void warn(const std::string& text) override;
  bool cancelled() const override { return cancelled_; }

 private:
  void pass_on();

  image::Monitor& monitor_;
  std::atomic<std::uint64_t> done_bytes_{0};  // not yet passed on
  std::atomic<bool> cancelled_{false};
  Mutex mutex_;
  CondVar ended_;
  unsigned running_ GUARDED_BY(mutex_) = 0;
  std::vector<std::string> warnings_ GUARDED_BY(mutex_);
};

}  // namespace varve::transfer
