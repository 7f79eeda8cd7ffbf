// Looking at the upper.

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/upper/object_path.h"
#include "fs/upper/store.h"
#include "fs/upper/terminated_name.h"

namespace varve::upper {

Result<bool> Store::is_whiteout(ObjectRef object, const struct stat& status) const {
  if (S_ISCHR(status.st_mode) && whiteout_.is(status.st_ino)) return true;
  return upper::is_whiteout(marks(), object, status);
}

Result<Attributes> Store::shown_attributes(ObjectRef object, const struct stat& status) const {
  VARVE_ASSIGN(Attributes attributes, overrides().attributes(object, status));
  // The index's link is no name.
  if (!attributes.is_directory() && attributes.nlink > 0 && index_.holds(status.st_ino)) --attributes.nlink;
  return attributes;
}

Result<Attributes> Store::attributes(ObjectRef object) const {
  VARVE_ASSIGN(const struct stat status, stat_object(object));
  return shown_attributes(object, status);
}

Result<UpperEntry> Store::look_up(ObjectRef object) const {
  UpperEntry entry;
  const Result<struct stat> status = stat_object(object);
  if (!status.ok()) {
    if (status.error().value == ENOENT) return entry;
    return status.error();
  }
  VARVE_ASSIGN(const bool whiteout, is_whiteout(object, *status));
  if (whiteout) {
    entry.kind = UpperEntry::Kind::kWhiteout;
    return entry;
  }
  entry.kind = UpperEntry::Kind::kObject;
  VARVE_ASSIGN(entry.attributes, shown_attributes(object, *status));
  entry.inode_number = status->st_ino;
  VARVE_ASSIGN(entry.marks, marks().read(object));
  return entry;
}

Result<std::vector<UpperStore::ListedEntry>> Store::list(ObjectRef directory) const {
  VARVE_ASSIGN(std::vector<DirectoryEntry> entries, read_directory(directory));
  std::vector<ListedEntry> listed;
  listed.reserve(entries.size());
  UniqueFd fd;
  for (DirectoryEntry& entry : entries) {
    ListedEntry made{.name = std::move(entry.name), .type = entry.type, .inode_number = entry.inode_number};
    const bool may_stand_in = overrides().enabled() && (entry.type == DT_REG || entry.type == DT_UNKNOWN);
    made.whiteout = entry.type == DT_CHR && whiteout_.is(entry.inode_number);
    const bool may_be_whiteout = !made.whiteout && (entry.type == DT_CHR || entry.type == DT_UNKNOWN);
    if (!fd.valid() && (may_stand_in || may_be_whiteout)) {
      VARVE_ASSIGN(fd, open_object(directory, O_PATH | O_DIRECTORY));
    }
    if (may_stand_in) {
      VARVE_ASSIGN(made.type, listed_type({fd.get(), made.name}));
      if (made.type == 0) continue;
    }
    if (may_be_whiteout) {
      const ObjectRef object{fd.get(), made.name};
      const Result<struct stat> status = stat_object(object);
      if (!status.ok() && status.error().value == ENOENT) continue;  // removed meanwhile
      if (!status.ok()) return status.error();
      if (!may_stand_in) made.type = static_cast<std::uint8_t>(IFTODT(status->st_mode));
      VARVE_ASSIGN(made.whiteout, is_whiteout(object, *status));
    }
    listed.push_back(std::move(made));
  }
  return listed;
}

Result<UniqueFd> Store::open_path(ObjectRef object) const {
  return open_object(object, O_PATH);
}

Result<UniqueFd> Store::open_directory(ObjectRef object) const {
  return open_object(object, O_RDONLY | O_DIRECTORY);
}

Result<std::string> Store::read_link(ObjectRef object) const {
  if (overrides().enabled()) {
    VARVE_ASSIGN(const struct stat status, stat_object(object));
    if (S_ISREG(status.st_mode)) return read_stand_in(object);
  }
  std::string target(PATH_MAX, '\0');
  const ssize_t size =
      ::readlinkat(object.fd, TerminatedName(object.name).c_str(), target.data(), target.size());
  if (size < 0) return Errno::last();
  target.resize(static_cast<std::size_t>(size));
  return target;
}

Result<std::optional<UniqueFd>> Store::find_indexed(Origin origin) const {
  return index_.find(origin);
}

}  // namespace varve::upper
