#include "fs/upper/override/overrides.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fs/base/log.h"
#include "fs/upper/object_path.h"
#include "fs/upper/stage.h"

namespace varve::upper {
namespace {

constexpr const char* kProbeName = "probe-owner";
constexpr const char* kProbeDevice = "probe-device";

// An id that no user namespace but the initial one is likely to map.
constexpr uid_t kUnlikelyId = 0xFFFFFFFE - 1;

Errno damaged(ObjectRef object, std::string_view value) {
  log_error("{}: the xattr {} cannot be understood: {}", object.name.empty() ? "(open object)" : object.name,
            format::kOverrideXattr, value.substr(0, 80));
  return Errno{EIO};
}

// The result of a system call as an answer. What it answers is written down for ever, so a disk that fails is none.
Result<bool> succeeded(int result) {
  if (result == 0) return true;
  if (is_disk_fault(Errno::last())) return Errno::last();
  return false;
}

Result<bool> may_chown(int directory, const char* name) {
  return succeeded(::fchownat(directory, name, kUnlikelyId, kUnlikelyId, AT_SYMLINK_NOFOLLOW));
}

Result<bool> may_make_devices(int directory) {
  VARVE_ASSIGN(const bool made, succeeded(::mknodat(directory, kProbeDevice, S_IFCHR | 0600, makedev(1, 3))));
  if (made) ::unlinkat(directory, kProbeDevice, 0);
  return made;
}

}  // namespace

bool permissions_stand(std::uint32_t type, std::uint32_t permissions) {
  if ((permissions & (S_ISUID | S_ISGID)) != 0) return false;
  const bool is_opened = type == S_IFREG || type == S_IFDIR;
  const std::uint32_t needed = private_permissions(type);
  return !is_opened || (permissions & needed) == needed;
}

std::uint32_t private_permissions(std::uint32_t type) {
  return type == S_IFDIR ? 0700 : 0600;
}

bool is_not_permitted(Errno error) {
  // EINVAL: the id has no meaning in this user namespace (chown(2)).
  return error.value == EPERM || error.value == EINVAL;
}

Result<OverrideUse> Overrides::probe(int scratch) {
  for (const char* name : {kProbeName, kProbeDevice}) {
    static_cast<void>(remove_tree(scratch, name).ok());  // what a kill left
  }
  const UniqueFd file(::openat(scratch, kProbeName, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600));
  if (!file.valid()) return Errno::last();
  VARVE_ASSIGN(const bool chowns, may_chown(scratch, kProbeName));
  VARVE_ASSIGN(const bool makes_devices, may_make_devices(scratch));
  const bool needs_none = chowns && makes_devices;
  const Status written =
      needs_none ? Status() : set_object_xattr({file.get(), {}}, format::kOverrideXattr, "0:0:0600");
  if (::unlinkat(scratch, kProbeName, 0) != 0) return Errno::last();
  if (!written.ok()) return written.error();
  return needs_none ? OverrideUse::kNever : OverrideUse::kWhereNeeded;
}

Result<std::optional<format::OverrideStat>> Overrides::read(ObjectRef object,
                                                            const struct stat& status) const {
  using Found = std::optional<format::OverrideStat>;
  // Nothing else can carry an xattr of the user namespace.
  if (!enabled() || (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))) return Found{};
  const Result<std::string> value = get_object_xattr(object, format::kOverrideXattr);
  if (!value.ok()) {
    if (value.error().value == ENODATA || value.error().value == EOPNOTSUPP) return Found{};
    return value.error();
  }
  const Found found = format::parse_override_stat(*value);
  Attributes stored = attributes_from_stat(status);
  if (!found || !format::apply_override_stat(*found, stored)) return damaged(object, *value);
  return found;
}

Result<Attributes> Overrides::attributes(ObjectRef object, const struct stat& status) const {
  Attributes attributes = attributes_from_stat(status);
  VARVE_ASSIGN(const std::optional<format::OverrideStat> found, read(object, status));
  if (found) VARVE_CHECK(format::apply_override_stat(*found, attributes));
  return attributes;
}

Status Overrides::write(ObjectRef object, const struct stat& status,
                        const format::OverrideStat& override) const {
  const std::string value = format::format_override_stat(override);
  const std::uint32_t wanted = private_permissions(status.st_mode & S_IFMT);
  const auto make_private = [&]() -> Status {
    if ((status.st_mode & 07777) == wanted) return {};
    VARVE_ASSIGN(const UniqueFd fd, open_object(object, O_PATH));
    return ::chmod(ObjectPath({fd.get(), {}}).c_str(), wanted) == 0 ? Status() : Status(Errno::last());
  };
  Status written = set_object_xattr(object, format::kOverrideXattr, value);
  if (!written.ok() && written.error().value == EACCES) {
    // Another program made it, and its mode keeps its own owner out.
    VARVE_RETURN_IF_ERROR(make_private());
    return set_object_xattr(object, format::kOverrideXattr, value);
  }
  // After the override: the mode that is shown changes once.
  return written.ok() ? make_private() : written;
}

}  // namespace varve::upper
