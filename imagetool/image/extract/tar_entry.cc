#include "imagetool/image/extract/tar_entry.h"

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <limits>

#include "fs/format/posix_acl.h"

namespace varve::image {
namespace {

using Tag = format::AclEntry::Tag;

struct AclTag {
  int libarchive;
  Tag ours;
};
constexpr std::array<AclTag, 6> kAclTags = {{{ARCHIVE_ENTRY_ACL_USER_OBJ, Tag::kOwner},
                                             {ARCHIVE_ENTRY_ACL_USER, Tag::kUser},
                                             {ARCHIVE_ENTRY_ACL_GROUP_OBJ, Tag::kOwningGroup},
                                             {ARCHIVE_ENTRY_ACL_GROUP, Tag::kGroup},
                                             {ARCHIVE_ENTRY_ACL_MASK, Tag::kMask},
                                             {ARCHIVE_ENTRY_ACL_OTHER, Tag::kOther}}};

struct AclKind {
  int libarchive;
  std::string_view xattr;
};
constexpr std::array<AclKind, 2> kAclKinds = {{{ARCHIVE_ENTRY_ACL_TYPE_ACCESS, format::kAccessAclXattr},
                                               {ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, format::kDefaultAclXattr}}};

constexpr long kNanosecondsPerSecond = 1000000000;

bool has_xattr(const InodeSpec& spec, std::string_view name) {
  return std::any_of(spec.xattrs.begin(), spec.xattrs.end(),
                     [&](const auto& xattr) { return xattr.first == name; });
}

void read_acl(archive_entry* entry, const AclKind& kind, InodeSpec& spec, std::vector<std::string>& losses) {
  if (has_xattr(spec, kind.xattr)) return;  // the same in the kernel's own form
  if (archive_entry_acl_reset(entry, kind.libarchive) <= 0) return;
  format::Acl entries;
  int type = 0;
  int permissions = 0;
  int tag = 0;
  int id = 0;
  const char* name = nullptr;
  while (archive_entry_acl_next(entry, kind.libarchive, &type, &permissions, &tag, &id, &name) ==
         ARCHIVE_OK) {
    const auto known =
        std::find_if(kAclTags.begin(), kAclTags.end(), [&](const AclTag& t) { return t.libarchive == tag; });
    if (known == kAclTags.end()) continue;
    const bool needs_id = format::has_id(known->ours);
    // libarchive makes INT_MAX of what is larger.
    if (needs_id && (id < 0 || id == std::numeric_limits<int>::max())) {
      losses.push_back(std::string("the access right of \"") + (name ? name : "") +
                       (id < 0 ? "\", which has no number, is not kept"
                               : "\", whose number is 2^31 - 1 or larger, is not kept"));
      continue;
    }
    entries.push_back({known->ours, static_cast<std::uint16_t>(permissions & 7),
                       needs_id ? static_cast<std::uint32_t>(id) : 0});
  }
  if (entries.empty()) return;
  format::order_acl(entries);
  spec.xattrs.emplace_back(kind.xattr, format::format_acl(entries));
}

void read_xattrs_of(archive_entry* entry, InodeSpec& spec) {
  archive_entry_xattr_reset(entry);
  const char* name = nullptr;
  const void* value = nullptr;
  std::size_t size = 0;
  while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
    // libarchive writes each xattr as two records, and reads both.
    if (name == nullptr || has_xattr(spec, name)) continue;
    spec.xattrs.emplace_back(name, std::string(static_cast<const char*>(value), size));
  }
}

// The mode that the kernel derives from an access list: its group bits are those of the mask (fs/posix_acl.c,
// posix_acl_equiv_mode). libarchive puts those of the owning group there.
void apply_mask_to_mode(InodeSpec& spec) {
  for (const auto& [name, value] : spec.xattrs) {
    if (name != format::kAccessAclXattr) continue;
    const auto acl = format::parse_acl(value);
    if (!acl) return;
    for (const format::AclEntry& one : *acl) {
      if (one.tag == Tag::kMask) {
        spec.attributes.mode =
            (spec.attributes.mode & ~070U) | static_cast<std::uint32_t>(one.permissions & 7) << 3;
      }
    }
  }
}

// libarchive takes and gives a time before 1970 as the digits that stand in the archive: -2.5 is (-2,
// 500000000) there and (-3, 500000000) everywhere else. "-0.5" it gives as 0.5: no one can tell.
Timestamp time_of_digits(std::int64_t seconds, long nanoseconds) {
  if (seconds >= 0 || nanoseconds == 0) return {seconds, static_cast<std::uint32_t>(nanoseconds)};
  return {seconds - 1, static_cast<std::uint32_t>(kNanosecondsPerSecond - nanoseconds)};
}

}  // namespace

Utf8Locale::Utf8Locale()
    : own_(::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)), before_(own_ ? ::uselocale(own_) : nullptr) {}

Utf8Locale::~Utf8Locale() {
  if (!own_) return;
  ::uselocale(before_);
  ::freelocale(own_);
}

InodeSpec spec_from_entry(archive_entry* entry, std::vector<std::string>& losses) {
  InodeSpec spec;
  Attributes& attributes = spec.attributes;
  attributes.mode = archive_entry_filetype(entry) | archive_entry_perm(entry);
  attributes.uid = static_cast<std::uint32_t>(archive_entry_uid(entry));
  attributes.gid = static_cast<std::uint32_t>(archive_entry_gid(entry));
  attributes.mtime = time_of_digits(archive_entry_mtime(entry), archive_entry_mtime_nsec(entry));
  if (attributes.is_regular()) attributes.size_bytes = static_cast<std::uint64_t>(archive_entry_size(entry));
  if (S_ISCHR(attributes.mode) || S_ISBLK(attributes.mode)) attributes.rdev = archive_entry_rdev(entry);
  if (attributes.is_symlink()) {
    const char* target = archive_entry_symlink(entry);
    spec.symlink_target = target ? target : "";
  }
  read_xattrs_of(entry, spec);
  for (const AclKind& kind : kAclKinds) read_acl(entry, kind, spec, losses);
  apply_mask_to_mode(spec);
  if ((archive_entry_acl_types(entry) & ARCHIVE_ENTRY_ACL_TYPE_NFS4) != 0)
    losses.push_back("its NFSv4 ACL is not kept");
  if (const char* flags = archive_entry_fflags_text(entry); flags && *flags) {
    losses.push_back(std::string("its file flags \"") + flags + "\" are not kept");
  }
  return spec;
}

}  // namespace varve::image
