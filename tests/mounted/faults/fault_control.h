#pragma once

// FaultControl: what a test and the daemon that it watches share: which system call is to fail, or to be the daemon's last. A test
// writes it into a file, names that file in VARVE_FAULT_CONTROL, and preloads fault_points.so into the daemon. Thread rule: `armed`
// and what follows it may be touched by both at any time; the rest is written by the test while nothing is armed.

#include <atomic>
#include <cstdint>

namespace varve::test {

// The calls through which varvefs changes an upper or a work directory.
enum class Call : std::uint32_t {
  kCreate,  // open and openat with O_CREAT or O_TRUNC
  kMkdir,
  kMknod,
  kSymlink,
  kLink,
  kUnlink,
  kRename,
  kRename2,
  kChmod,
  kChmodAt,
  kChownAt,
  kTimes,
  kSetXattr,
  kRemoveXattr,
  kTruncate,
  kAllocate,
  kWrite,
  kSync,
  kStranger,  // one that varvefs imports, but must not use on an upper: nobody injects there
  // Those below only look.
  kOpen,
  kStat,
  kGetXattr,
  kListXattr,
};
constexpr std::uint32_t kCalls = static_cast<std::uint32_t>(Call::kListXattr) + 1;
constexpr bool changes(Call call) {
  return call < Call::kOpen;
}

// kPause: before each call that counts, until the test lets it go on.
enum class FaultKind : std::uint32_t { kNone, kFail, kKillBefore, kKillAfter, kPause };

struct FaultControl {
  FaultKind kind = FaultKind::kNone;
  std::uint32_t at = 0;      // the call that is hit, counted from 1
  std::int32_t error = 0;    // kFail: the errno
  bool looks_count = false;  // calls that change nothing count as well

  std::atomic<std::uint32_t> armed{0};
  std::atomic<std::uint32_t> calls{0};        // since it was armed
  std::atomic<std::uint32_t> paused_at{0};    // kPause: the call, counted from 1, that waits
  std::atomic<std::uint32_t> may_go{0};       // kPause: up to which call
  std::atomic<std::uint32_t> hit{0};          // 1 + the Call that was hit; 0: none yet
  std::atomic<std::uint32_t> seen[kCalls]{};  // calls of each kind, of all arming times
};

}  // namespace varve::test
