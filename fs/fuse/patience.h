#pragma once

// Patience: whether the thread that takes requests should watch the device for a moment before it sleeps there. A client that
// works through files sends its next request some ten microseconds after the last answer; to be woken for it costs as much
// again, where it means another processor. The kernel's virtual machine monitor does the same for a processor with nothing to do
// (Linux Documentation/virt/kvm/halt-polling.rst).
// Watching pays only when requests come that soon and while nobody else wants the processor, so both are observed.
// Thread rule: for one thread. Pure: who uses it measures and tells.

#include <chrono>

namespace varve::fuse {

class Patience {
 public:
  using Time = std::chrono::nanoseconds;

  // How long to watch for one request.
  static constexpr Time kMost = std::chrono::microseconds(60);
  // A processor that is given up for so long was wanted by somebody else.
  static constexpr Time kCrowded = std::chrono::microseconds(15);

  bool pays() const { return credit_ > 0; }
  // The request came while the device was watched.
  void came() { credit_ = kFull; }
  // None came for kMost.
  void nothing_came() { credit_ -= kFull / 2; }
  // Somebody else wanted the processor while the device was watched.
  void crowded() { credit_ = -kPause; }
  // The request came after a sleep of this length.
  void slept(Time how_long) {
    if (credit_ < 0 || how_long < kMost) ++credit_;
  }

 private:
  static constexpr int kFull = 4;    // so many times may watching pay off before it is trusted again
  static constexpr int kPause = 64;  // requests that are slept for after the processor was found crowded
  int credit_ = 0;
};

}  // namespace varve::fuse
