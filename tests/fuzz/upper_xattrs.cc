// Fuzz target: the values of xattrs that others may have written on an upper, or sent in an archive: overrides and access control
// lists. Any bytes are refused, or mean something that is written and read again without a change.

#include <cstdint>
#include <string_view>

#include "fs/base/check.h"
#include "fs/format/override_stat.h"
#include "fs/format/posix_acl.h"

namespace varve::format {
namespace {

void decode_override(std::string_view text) {
  const std::optional<OverrideStat> stat = parse_override_stat(text);
  if (!stat) return;
  VARVE_CHECK(stat->permissions <= 07777);
  const std::optional<OverrideStat> again = parse_override_stat(format_override_stat(*stat));
  VARVE_CHECK(again.has_value());
  // Of what is stored as itself the type is left out.
  VARVE_CHECK(again->uid == stat->uid && again->gid == stat->gid && again->permissions == stat->permissions);
  VARVE_CHECK(again->type == 0 || *again == *stat);
  for (const std::uint32_t stored : {0100600U, 0040700U, 0120777U, 0010600U}) {
    const Attributes before{.mode = stored, .uid = 1, .gid = 2};
    Attributes shown = before;
    if (!apply_override_stat(*stat, shown)) {
      VARVE_CHECK(shown.mode == before.mode && shown.uid == before.uid && shown.gid == before.gid);
    } else {
      VARVE_CHECK((shown.mode & 07777) == stat->permissions && shown.uid == stat->uid &&
                  shown.gid == stat->gid);
    }
  }
}

void decode_acl(std::string_view bytes) {
  const std::optional<Acl> acl = parse_acl(bytes);
  if (!acl) return;
  VARVE_CHECK(parse_acl(format_acl(*acl)) == *acl);
  VARVE_CHECK(permissions_of(*acl) <= 0777);
  Acl ordered = *acl;
  order_acl(ordered);
  VARVE_CHECK(parse_acl(format_acl(ordered)) == ordered);
  for (const std::uint32_t permissions : {0U, 0640U, 0777U}) {
    Acl changed = *acl;
    change_permissions(changed, permissions);
    VARVE_CHECK(permissions_of(changed) == permissions && parse_acl(format_acl(changed)) == changed);
    const InheritedAcl inherited = inherit_acl(*acl, permissions);
    VARVE_CHECK((inherited.permissions & ~permissions) == 0);
    VARVE_CHECK(!inherited.access || permissions_of(*inherited.access) == inherited.permissions);
  }
}

}  // namespace
}  // namespace varve::format

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  varve::format::decode_override(bytes);
  varve::format::decode_acl(bytes);
  return 0;
}
