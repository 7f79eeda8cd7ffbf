#pragma once

// CapabilitySet: capabilities(7) as a mask of bits, bit N for capability N of linux/capability.h. Plain values, and the
// calls that put one into force on the calling thread.

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/result.h"

namespace varve::launcher {

class CapabilitySet {
 public:
  constexpr CapabilitySet() = default;
  explicit constexpr CapabilitySet(std::uint64_t mask) : mask_(mask) {}
  // The eleven that podman gives (its containers.conf): CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETFCAP
  // SETGID SETPCAP SETUID SYS_CHROOT.
  static CapabilitySet defaults();
  // All that the running kernel knows.
  static CapabilitySet all();
  // "CAP_SYS_ADMIN", "sys_admin", or "ALL". Returns: a Failure for an unknown word.
  static ResultOrFailure<CapabilitySet> parse(std::string_view word);

  CapabilitySet with(CapabilitySet other) const { return CapabilitySet(mask_ | other.mask_); }
  CapabilitySet without(CapabilitySet other) const { return CapabilitySet(mask_ & ~other.mask_); }
  bool contains(CapabilitySet other) const { return (mask_ & other.mask_) == other.mask_; }
  std::uint64_t mask() const { return mask_; }
  // "chown,kill", in the order of their numbers.
  std::string text() const;
  friend bool operator==(CapabilitySet, CapabilitySet) = default;

 private:
  std::uint64_t mask_ = 0;
};

// Defaults plus `added` minus `dropped`; "ALL" in `dropped` takes the defaults away and leaves `added`, "ALL" in `added`
// gives everything but `dropped` (podman-run(1) --cap-add, --cap-drop).
ResultOrFailure<CapabilitySet> choose_capabilities(const std::vector<std::string>& added,
                                                   const std::vector<std::string>& dropped);

// What no program started from here on can have: everything outside `kept` leaves the bounding set. Requires CAP_SETPCAP.
Status limit_bounding_set(CapabilitySet kept);
// Permitted and effective become `kept`; inheritable and ambient, which programs started by a user other than root take
// over, become `ambient`, a part of `kept`. Call after the ids are set, with PR_SET_KEEPCAPS before.
// Returns: EPERM when the thread lacks one of them.
Status set_capabilities(CapabilitySet kept, CapabilitySet ambient);

}  // namespace varve::launcher
