// Removing and moving: each by one rename, from or to the stage.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "fs/base/log.h"
#include "fs/upper/object_path.h"
#include "fs/upper/store.h"
#include "fs/upper/terminated_name.h"

namespace varve::upper {

Result<std::uint64_t> Store::map_of_last_name(ObjectRef name) const {
  const Result<std::uint64_t> map_id = marks().map_id_of(name);
  if (!map_id.ok() && map_id.error().value == ENOENT) return std::uint64_t{0};
  if (!map_id.ok() || *map_id == 0) return map_id;
  VARVE_ASSIGN(const struct stat status, stat_object(name));
  return status.st_nlink == 1 ? *map_id : 0;
}

Status Store::whiteout(ObjectRef where) {
  return whiteout_.make(where);
}

Status Store::replace_by_whiteout(ObjectRef where, bool is_directory) {
  VARVE_ASSIGN(Draft draft, Draft::begin(stage_, -1));
  VARVE_RETURN_IF_ERROR(whiteout_.make(draft.ref()));
  if (!is_directory) return draft.publish_over(where, false);
  // The directory is in the stage then, and goes with the draft.
  return rename_object(draft.ref(), where, ReplaceMode::kExchange);
}

Status Store::remove(ObjectRef file, bool leave_whiteout) {
  VARVE_ASSIGN(const std::uint64_t map_id, map_of_last_name(file));
  if (leave_whiteout) {
    // A rename would put the whiteout over any kind of object but a directory.
    VARVE_RETURN_IF_ERROR(replace_by_whiteout(file, false));
  } else if (::unlinkat(file.fd, TerminatedName(file.name).c_str(), 0) != 0) {
    return Errno::last();
  }
  // The map after the file: the other way round a kill would leave a file that has lost its claims.
  if (map_id != 0) remove_map(map_id);
  return {};
}

void Store::remove_map(std::uint64_t map_id) {
  const Status removed = maps_.remove(map_id);
  if (removed.ok()) return;
  log_warning("work directory: a map without a file stays: {:016x}: {}", map_id,
              std::strerror(removed.error().value));
}

namespace {

Status require_only_whiteouts(const std::vector<UpperStore::ListedEntry>& entries) {
  for (const UpperStore::ListedEntry& entry : entries) {
    if (!entry.whiteout) return Errno{ENOTEMPTY};
  }
  return {};
}

}  // namespace

Status Store::move_away(ObjectRef directory) {
  const std::string name = stage_.new_name();
  VARVE_RETURN_IF_ERROR(rename_object(directory, {stage_.fd(), name}, ReplaceMode::kNoReplace));
  stage_.discard(name);
  return {};
}

Status Store::remove_directory(ObjectRef directory, const std::vector<ListedEntry>& holds,
                               bool leave_whiteout) {
  VARVE_RETURN_IF_ERROR(require_only_whiteouts(holds));
  if (leave_whiteout) return replace_by_whiteout(directory, true);
  if (::unlinkat(directory.fd, TerminatedName(directory.name).c_str(), AT_REMOVEDIR) == 0) return {};
  if (errno != ENOTEMPTY && errno != EEXIST) return Errno::last();
  return move_away(directory);
}

// As ovl_clear_empty of the kernel's dir.c: an empty opaque twin changes places with the directory.
Status Store::empty_directory(ObjectRef directory) {
  VARVE_ASSIGN(const struct stat status, stat_object(directory));
  VARVE_ASSIGN(const std::vector<std::string> xattrs, list_object_xattrs(directory));
  VARVE_ASSIGN(Draft twin, Draft::begin(stage_, -1));
  const ObjectRef made = twin.ref();
  VARVE_RETURN_IF_ERROR(make_node(made, {.mode = S_IFDIR | 0700, .rdev = 0, .symlink_target = {}}));
  VARVE_RETURN_IF_ERROR(change_own_owner(made, status.st_uid, status.st_gid));
  for (const std::string& name : xattrs) {
    VARVE_ASSIGN(const std::string value, get_object_xattr(directory, name));
    VARVE_RETURN_IF_ERROR(set_object_xattr(made, name, value));
  }
  VARVE_RETURN_IF_ERROR(marks().write_opaque(made));
  if (::fchmodat(made.fd, TerminatedName(made.name).c_str(), status.st_mode & 07777, 0) != 0)
    return Errno::last();
  const struct timespec times[2] = {status.st_atim, status.st_mtim};
  VARVE_RETURN_IF_ERROR(change_times(made, times));
  return rename_object(made, directory, ReplaceMode::kExchange);
}

Status Store::rename(const Rename& request) {
  if (request.exchange) return rename_object(request.from, request.to, ReplaceMode::kExchange);
  std::uint64_t map_id = 0;
  if (request.to_is_directory) {
    VARVE_ASSIGN(const std::vector<ListedEntry> entries, list(request.to));
    VARVE_RETURN_IF_ERROR(require_only_whiteouts(entries));
    if (!entries.empty()) VARVE_RETURN_IF_ERROR(empty_directory(request.to));
  } else {
    VARVE_ASSIGN(map_id, map_of_last_name(request.to));
  }
  VARVE_RETURN_IF_ERROR(rename_over(request));
  if (map_id != 0) remove_map(map_id);
  return {};
}

Status Store::rename_over(const Rename& request) {
  VARVE_ASSIGN(const struct stat source, stat_object(request.from));
  const Result<struct stat> target = stat_object(request.to);
  if (!target.ok() && target.error().value != ENOENT) return target.error();
  // A directory cannot replace a whiteout, which is a device, but can change places with it; and if the old
  // name needs one, it is where it belongs.
  if (S_ISDIR(source.st_mode) && target.ok() && !S_ISDIR(target->st_mode)) {
    VARVE_RETURN_IF_ERROR(require_whiteout(request.to));
    VARVE_RETURN_IF_ERROR(rename_object(request.from, request.to, ReplaceMode::kExchange));
    if (request.whiteout_source) return {};
    // One that stays hides nothing.
    if (::unlinkat(request.from.fd, TerminatedName(request.from.name).c_str(), 0) != 0) {
      log_warning("a whiteout that hides nothing stays as {}: {}", request.from.name, std::strerror(errno));
    }
    return {};
  }
  if (!request.whiteout_source) return rename_object(request.from, request.to, ReplaceMode::kReplace);
  const Status moved = rename_object(request.from, request.to, ReplaceMode::kWhiteout);
  if (moved.ok() || moved.error().value != EINVAL) return moved;
  // A file system without RENAME_WHITEOUT: for a moment the lower name shows again beside the new one, which
  // a kill could leave so. The other order could lose the object.
  VARVE_RETURN_IF_ERROR(rename_object(request.from, request.to, ReplaceMode::kReplace));
  return whiteout_.make(request.from);
}

}  // namespace varve::upper
