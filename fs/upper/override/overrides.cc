#include "fs/upper/override/overrides.h"

#include <fcntl.h>
#include <unistd.h>

#include "fs/base/log.h"
#include "fs/upper/object_path.h"

namespace varve::upper {
namespace {

Errno damaged(ObjectRef object, std::string_view value) {
  log_error("{}: the xattr {} cannot be understood: {}", object.name.empty() ? "(open object)" : object.name,
            format::kOverrideXattr, value.substr(0, 80));
  return Errno{EIO};
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
    return change_object_mode(object, wanted);
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
