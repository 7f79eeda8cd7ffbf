#pragma once

// IdMap: owner shifting, as the options uidmapping= and gidmapping= of fuse-overlayfs say it: ranges of ids that layers and
// upper store, and the ids that programs see in their place. Plain values; no cost but a look at the ranges for each id.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/result.h"

namespace varve::fuse {

class IdMap {
 public:
  // What an id outside all ranges becomes, in both directions (the kernel's overflow id).
  static constexpr std::uint32_t kOverflowId = 65534;

  IdMap() = default;
  // "CONTAINER:HOST:LENGTH", more triples after further colons: the ids from CONTAINER on are stored, those from HOST on shown.
  // Returns: a Failure (EINVAL) for anything else, for empty ranges, ranges past 2^32 - 1 and ranges that overlap.
  static ResultOrFailure<IdMap> parse(std::string_view text);

  // No ranges: every id stays as it is.
  bool is_identity() const { return ranges_.empty(); }
  std::uint32_t shown(std::uint32_t stored) const;
  std::uint32_t stored(std::uint32_t shown) const;

 private:
  struct Range {
    std::uint32_t container = 0;
    std::uint32_t host = 0;
    std::uint32_t length = 0;
  };
  std::vector<Range> ranges_;
};

struct IdMaps {
  IdMap users;
  IdMap groups;

  bool is_identity() const { return users.is_identity() && groups.is_identity(); }
  // The value of an xattr system.posix_acl_*, whose entries name ids. What is no access control list is left as it is.
  std::string shown_acl(std::string_view stored) const;
  std::string stored_acl(std::string_view shown) const;
};

// The xattr is an access control list.
bool is_acl(std::string_view xattr_name);

}  // namespace varve::fuse
