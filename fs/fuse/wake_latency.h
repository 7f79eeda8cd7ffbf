#pragma once

// WakeLatency: what -o wakeup_us= asks for (docs/decisions/0023). While requests come in a burst, and not longer, the kernel is asked
// for processors that wake up within a time. It holds for the whole machine: with 0 its idle processors spin.
// (Linux Documentation/admin-guide/pm/cpuidle.rst, "Power Management Quality of Service for CPUs"; kernel/power/qos.c)
// Thread rule: one thread opens, ticks and lets go; status() from any. Ownership: owns the descriptor, with which the kernel drops what
// was asked through it.

#include <atomic>
#include <cstdint>
#include <string>

#include "fs/base/unique_fd.h"
#include "fs/fuse/status.h"

namespace varve::fuse {

// Whether requests come in a burst. Pure: who uses it ticks and tells. Thread rule: for one thread.
class Burst {
 public:
  // So many requests in a tick of 10 ms begin one: a request each 200 us, for which Linux has a guest's processor watch as well before
  // it halts (guest_halt_poll_ns).
  static constexpr std::uint64_t kBegins = 50;
  // With fewer than so many a tick is calm, and after so many calm ones in a row the burst is over. To ask and to let go wakes each idle
  // processor once, so neither is done at each pause of a client.
  static constexpr std::uint64_t kGoesOn = kBegins / 2;
  static constexpr int kCalmTicks = 5;

  // `received`: requests since the mount. Returns: whether there is a burst.
  bool tick(std::uint64_t received);

 private:
  std::uint64_t received_ = 0;
  int ticks_left_ = 0;  // that may be calm until it is over; 0: there is none
};

class WakeLatency {
 public:
  // As the option takes it: microseconds.
  static constexpr std::uint32_t kMostUs = 1'000'000;
  // PM_QOS_CPU_LATENCY_DEFAULT_VALUE (linux/pm_qos.h): as if nobody had asked.
  static constexpr std::int32_t kAny = 2'000'000'000;

  struct Options {
    std::uint32_t limit_us = 0;  // at most kMostUs
    const char* device = "/dev/cpu_dma_latency";
    // Where the kernel names what its idle processors are driven by. "none": they halt, whatever is asked.
    const char* driver = "/sys/devices/system/cpu/cpuidle/current_driver";
  };
  // Opens the device. Where that is refused, or nothing would come of it, a line of the log says why, and nothing is ever asked.
  explicit WakeLatency(Options options);

  // `received`: requests since the mount; each 10 ms. Returns: whether it is held, and so more ticks are needed.
  bool tick(std::uint64_t received);
  // Does nothing when it is not held.
  void let_go();
  WakeupStatus status() const;

 private:
  static constexpr int kNoDriver = -1;

  void ask(bool hold);
  // Nothing is asked any more. `why`: errno of the device, or kNoDriver.
  void give_up(int why);
  std::string why_not() const;

  const Options options_;
  UniqueFd device_;
  Burst burst_;
  std::atomic<bool> held_{false};
  std::atomic<std::uint64_t> taken_{0};
  std::atomic<int> why_not_{0};  // as give_up() has it; 0: it has not been called
};

}  // namespace varve::fuse
