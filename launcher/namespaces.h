#pragma once

// Namespace, NamespaceSet: which namespaces a container has of its own (namespaces(7)). Plain values.

#include <cstdint>
#include <string>
#include <string_view>

#include "fs/base/result.h"

namespace varve::launcher {

enum class Namespace : std::uint8_t { kMount, kPid, kNet, kIpc, kUts, kUser, kCgroup, kTime };

class NamespaceSet {
 public:
  constexpr NamespaceSet() = default;
  // What a container has of its own unless it is asked for otherwise: all but time, which would move clocks that count from
  // the boot (time_namespaces(7)); nobody but a checkpoint needs that, and every look at those clocks would pay for it.
  static constexpr NamespaceSet all() { return NamespaceSet(0x7f); }
  // A comma-separated list of mnt, pid, net, ipc, uts, user, cgroup, time. Returns: a Failure that names the unknown word.
  static ResultOrFailure<NamespaceSet> parse(std::string_view list);

  bool contains(Namespace one) const { return (bits_ & bit(one)) != 0; }
  bool empty() const { return bits_ == 0; }
  NamespaceSet with(NamespaceSet other) const { return NamespaceSet(bits_ | other.bits_); }
  NamespaceSet without(NamespaceSet other) const { return NamespaceSet(bits_ & ~other.bits_ & 0xff); }
  // Those that are in both.
  NamespaceSet common(NamespaceSet other) const { return NamespaceSet(bits_ & other.bits_); }
  void add(Namespace one) { bits_ |= bit(one); }
  void remove(Namespace one) { bits_ &= ~bit(one); }
  // The CLONE_NEW... flags of clone3(2).
  std::uint64_t clone_flags() const;
  // The words that parse() reads, in their order; empty for the empty set.
  std::string text() const;
  friend bool operator==(NamespaceSet, NamespaceSet) = default;

 private:
  explicit constexpr NamespaceSet(unsigned bits) : bits_(bits) {}
  static constexpr unsigned bit(Namespace one) { return 1U << static_cast<unsigned>(one); }
  unsigned bits_ = 0;
};

}  // namespace varve::launcher
