#pragma once

// POSIX access control lists in the form of the xattrs system.posix_acl_* (Linux include/uapi/linux/posix_acl_xattr.h,
// version 2), and what the kernel does with them where it keeps them itself (fs/posix_acl.c; acl(5)): for uppers whose
// lists are kept in marks, and for archives. Pure functions over bytes that nobody vouches for.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace varve::format {

inline constexpr const char* kAccessAclXattr = "system.posix_acl_access";
inline constexpr const char* kDefaultAclXattr = "system.posix_acl_default";

struct AclEntry {
  enum class Tag : std::uint16_t {
    kOwner = 0x01,
    kUser = 0x02,
    kOwningGroup = 0x04,
    kGroup = 0x08,
    kMask = 0x10,
    kOther = 0x20
  };
  Tag tag = Tag::kOwner;
  std::uint16_t permissions = 0;  // rwx
  std::uint32_t id = 0;           // kUser, kGroup
  friend bool operator==(const AclEntry&, const AclEntry&) = default;
};
using Acl = std::vector<AclEntry>;

// Returns: empty unless the entries are in order, owner, group and others stand in it once, and a mask where it needs one.
std::optional<Acl> parse_acl(std::string_view bytes);
std::string format_acl(const Acl& acl);
// Whether an entry of this kind names a user or a group by its id.
bool has_id(AclEntry::Tag tag);
// Puts the entries into the order that parse_acl asks for; named users and groups by id.
void order_acl(Acl& acl);

// The nine permission bits that go with an access list.
std::uint32_t permissions_of(const Acl& acl);
// It says no more than these nine bits.
bool is_minimal(const Acl& acl);
// chmod(2) of an object with this access list.
void change_permissions(Acl& acl, std::uint32_t permissions);

// What an object that is made with `permissions` (the umask is not asked) gets from its directory's default list.
struct InheritedAcl {
  std::uint32_t permissions = 0;  // nine bits
  std::optional<Acl> access;      // empty: the bits say it all
};
InheritedAcl inherit_acl(const Acl& default_acl, std::uint32_t permissions);

}  // namespace varve::format
