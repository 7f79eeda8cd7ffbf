#pragma once

// POSIX access control lists in the form the kernel keeps them in the xattrs system.posix_acl_access and
// system.posix_acl_default (include/uapi/linux/posix_acl_xattr.h, version 2).
// Thread rule: stateless.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace varve::image {

inline constexpr std::string_view kAccessAclXattr = "system.posix_acl_access";
inline constexpr std::string_view kDefaultAclXattr = "system.posix_acl_default";

struct AclEntry {
  // include/uapi/linux/posix_acl.h
  static constexpr std::uint16_t kUserObject = 0x01, kUser = 0x02, kGroupObject = 0x04, kGroup = 0x08,
                                 kMask = 0x10, kOther = 0x20;
  static constexpr std::uint32_t kNoId = 0xffffffff;
  std::uint16_t tag = 0;
  std::uint16_t permissions = 0;  // 4 read, 2 write, 1 execute
  std::uint32_t id = kNoId;       // kUser, kGroup
  friend bool operator==(const AclEntry&, const AclEntry&) = default;
};

// Sorts the entries as the kernel wants them: by tag, then id.
std::string encode_acl(std::vector<AclEntry> entries);
// Empty when `value` is no such list.
std::optional<std::vector<AclEntry>> decode_acl(std::string_view value);

}  // namespace varve::image
