// Objects of the upper that have no name: made by O_TMPFILE, or of a layer's object that lost its last name while the kernel still
// asked for a change of it. They die with their last descriptor.

#include <fcntl.h>
#include <sys/stat.h>

#include <utility>

#include "fs/upper/object_path.h"
#include "fs/upper/store.h"

namespace varve::upper {

Result<UpperStore::Unnamed> Store::create_unnamed(ObjectRef directory, const NewObject& object) {
  VARVE_ASSIGN(const Birth birth, plan_birth(directory, object));
  // In the directory itself, so that the kernel computes what a default ACL leaves.
  const std::uint32_t permissions = overrides().enabled() ? 0600
                                    : birth.default_acl   ? object.mode & 07777
                                                          : birth.permissions;
  const UniqueFd file(::open(ObjectPath({directory.fd, {}}).c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC,
                             static_cast<mode_t>(permissions)));
  if (!file.valid()) return Errno::last();
  const ObjectRef made{file.get(), {}};
  if (overrides().enabled()) {
    VARVE_ASSIGN(const ShownBirth plan, plan_shown(birth, object));
    VARVE_RETURN_IF_ERROR(settle_shown_birth(made, plan));
  } else {
    VARVE_RETURN_IF_ERROR(settle_birth(made, birth, object));
  }
  Unnamed result;
  VARVE_ASSIGN(result.fd, open_object(made, O_PATH));
  VARVE_ASSIGN(result.entry, look_up(made));
  return result;
}

Result<UpperStore::Unnamed> Store::copy_up_unnamed(const CopyUp& source) {
  Unnamed result;
  {
    // The draft is not published: it loses its name at the end of the block.
    VARVE_ASSIGN(Draft draft, Draft::begin(stage_, -1));
    VARVE_RETURN_IF_ERROR(build_copy(draft.ref(), source, DataMode::kCopy));
    VARVE_ASSIGN(result.fd, open_path(draft.ref()));
  }
  VARVE_ASSIGN(result.entry, look_up({result.fd.get(), {}}));
  return result;
}

}  // namespace varve::upper
