#include "fs/format/posix_acl.h"

#include <algorithm>
#include <cstring>
#include <tuple>

#include "fs/base/endian.h"

namespace varve::format {
namespace {

constexpr std::uint32_t kAclVersion = 2;
constexpr std::uint32_t kNoId = 0xFFFFFFFF;

using Tag = AclEntry::Tag;

struct StoredEntry {
  Le16 tag;
  Le16 permissions;
  Le32 id;
};
static_assert(sizeof(StoredEntry) == 8);

bool is_known(std::uint16_t tag) {
  return tag != 0 && tag <= 0x20 && (tag & (tag - 1)) == 0;
}

// Tags ascend in the order of the kernel's check (posix_acl_valid); within named users and groups any order of ids.
bool is_valid(const Acl& acl) {
  std::uint16_t last = 0;
  std::uint16_t seen = 0;
  for (const AclEntry& entry : acl) {
    const auto tag = static_cast<std::uint16_t>(entry.tag);
    if (tag < last || (tag == last && !has_id(entry.tag))) return false;
    if (entry.permissions > 7) return false;
    last = tag;
    seen = static_cast<std::uint16_t>(seen | tag);
  }
  constexpr std::uint16_t kNeeded = 0x01 | 0x04 | 0x20;
  constexpr std::uint16_t kNamed = 0x02 | 0x08;
  if ((seen & kNeeded) != kNeeded) return false;
  return (seen & kNamed) == 0 || (seen & static_cast<std::uint16_t>(Tag::kMask)) != 0;
}

bool has_mask(const Acl& acl) {
  for (const AclEntry& entry : acl) {
    if (entry.tag == Tag::kMask) return true;
  }
  return false;
}

// The bit position of an entry's permissions within the nine bits; -1 for entries that the bits do not show.
int shift_of(Tag tag, bool masked) {
  if (tag == Tag::kOwner) return 6;
  if (tag == (masked ? Tag::kMask : Tag::kOwningGroup)) return 3;
  return tag == Tag::kOther ? 0 : -1;
}

}  // namespace

bool has_id(AclEntry::Tag tag) {
  return tag == Tag::kUser || tag == Tag::kGroup;
}

void order_acl(Acl& acl) {
  std::sort(acl.begin(), acl.end(), [](const AclEntry& a, const AclEntry& b) {
    return std::tie(a.tag, a.id) < std::tie(b.tag, b.id);
  });
}

std::optional<Acl> parse_acl(std::string_view bytes) {
  Le32 version;
  if (bytes.size() < sizeof version || (bytes.size() - sizeof version) % sizeof(StoredEntry) != 0) {
    return std::nullopt;
  }
  std::memcpy(&version, bytes.data(), sizeof version);
  if (version != kAclVersion) return std::nullopt;
  Acl acl;
  for (bytes.remove_prefix(sizeof version); !bytes.empty(); bytes.remove_prefix(sizeof(StoredEntry))) {
    StoredEntry stored;
    std::memcpy(&stored, bytes.data(), sizeof stored);
    if (!is_known(stored.tag)) return std::nullopt;
    const Tag tag{stored.tag.get()};
    acl.push_back({.tag = tag, .permissions = stored.permissions, .id = has_id(tag) ? stored.id.get() : 0});
  }
  if (!is_valid(acl)) return std::nullopt;
  return acl;
}

std::string format_acl(const Acl& acl) {
  const Le32 version(kAclVersion);
  std::string bytes(sizeof version, '\0');
  std::memcpy(bytes.data(), &version, sizeof version);
  for (const AclEntry& entry : acl) {
    const StoredEntry stored{Le16(static_cast<std::uint16_t>(entry.tag)), Le16(entry.permissions),
                             Le32(has_id(entry.tag) ? entry.id : kNoId)};
    bytes.append(sizeof stored, '\0');
    std::memcpy(bytes.data() + bytes.size() - sizeof stored, &stored, sizeof stored);
  }
  return bytes;
}

std::uint32_t permissions_of(const Acl& acl) {
  const bool masked = has_mask(acl);
  std::uint32_t permissions = 0;
  for (const AclEntry& entry : acl) {
    const int shift = shift_of(entry.tag, masked);
    if (shift >= 0) permissions |= std::uint32_t{entry.permissions} << shift;
  }
  return permissions;
}

bool is_minimal(const Acl& acl) {
  return acl.size() == 3;
}

void change_permissions(Acl& acl, std::uint32_t permissions) {
  const bool masked = has_mask(acl);
  for (AclEntry& entry : acl) {
    const int shift = shift_of(entry.tag, masked);
    if (shift >= 0) entry.permissions = static_cast<std::uint16_t>(permissions >> shift & 7);
  }
}

InheritedAcl inherit_acl(const Acl& default_acl, std::uint32_t permissions) {
  InheritedAcl inherited{.permissions = permissions & permissions_of(default_acl) & 0777, .access = {}};
  if (is_minimal(default_acl)) return inherited;
  inherited.access = default_acl;
  change_permissions(*inherited.access, inherited.permissions);
  return inherited;
}

}  // namespace varve::format
