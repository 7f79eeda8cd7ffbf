#include "fs/upper/stage.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "fs/base/log.h"
#include "fs/format/posix_acl.h"
#include "fs/upper/object_path.h"
#include "fs/upper/terminated_name.h"

namespace varve::upper {

Status rename_object(ObjectRef from, ObjectRef to, ReplaceMode mode) {
  unsigned flags = 0;
  if (mode == ReplaceMode::kNoReplace) flags = RENAME_NOREPLACE;
  if (mode == ReplaceMode::kExchange) flags = RENAME_EXCHANGE;
  if (mode == ReplaceMode::kWhiteout) flags = RENAME_WHITEOUT;
  if (::renameat2(from.fd, TerminatedName(from.name).c_str(), to.fd, TerminatedName(to.name).c_str(),
                  flags) != 0) {
    return Errno::last();
  }
  return {};
}

Status remove_tree(int directory, const std::string& name) {
  if (::unlinkat(directory, name.c_str(), 0) == 0) return {};
  if (errno != EISDIR && errno != EPERM) return Errno::last();
  if (::unlinkat(directory, name.c_str(), AT_REMOVEDIR) == 0) return {};
  if (errno != ENOTEMPTY) return Errno::last();
  VARVE_ASSIGN(const UniqueFd inner, open_object({directory, name}, O_RDONLY | O_DIRECTORY));
  VARVE_ASSIGN(const auto entries, read_directory({inner.get(), {}}));
  for (const DirectoryEntry& entry : entries) VARVE_RETURN_IF_ERROR(remove_tree(inner.get(), entry.name));
  if (::unlinkat(directory, name.c_str(), AT_REMOVEDIR) != 0) return Errno::last();
  return {};
}

std::string Stage::new_name() {
  return std::to_string(next_.fetch_add(1, std::memory_order_relaxed));
}

Status Stage::clear() {
  VARVE_ASSIGN(const auto entries, read_directory({fd(), {}}));
  for (const DirectoryEntry& entry : entries) VARVE_RETURN_IF_ERROR(remove_tree(fd(), entry.name));
  return {};
}

void Stage::discard(const std::string& name) {
  const Status removed = remove_tree(fd(), name);
  if (removed.ok() || removed.error().value == ENOENT) return;
  log_warning("work directory: stage/{} stays until the next mount: {}", name,
              std::strerror(removed.error().value));
}

Result<Draft> Draft::begin(Stage& stage, int acl_parent) {
  Draft draft(stage);
  draft.name_ = stage.new_name();
  if (acl_parent < 0) return draft;
  VARVE_ASSIGN(const std::string acl, get_object_xattr({acl_parent, {}}, format::kDefaultAclXattr));
  if (::mkdirat(stage.fd(), draft.name_.c_str(), 0700) != 0) return Errno::last();
  draft.folder_name_ = std::exchange(draft.name_, "object");
  VARVE_RETURN_IF_ERROR(set_object_xattr({stage.fd(), draft.folder_name_}, format::kDefaultAclXattr, acl));
  VARVE_ASSIGN(draft.folder_fd_, open_object({stage.fd(), draft.folder_name_}, O_PATH | O_DIRECTORY));
  return draft;
}

Draft::Draft(Draft&& other) noexcept
    : stage_(std::exchange(other.stage_, nullptr)),
      name_(std::move(other.name_)),
      folder_name_(std::move(other.folder_name_)),
      folder_fd_(std::move(other.folder_fd_)) {}

Draft::~Draft() {
  if (stage_ == nullptr) return;
  if (!folder_name_.empty()) {
    stage_->discard(folder_name_);
  } else if (!name_.empty()) {
    stage_->discard(name_);
  }
}

Status Draft::publish(ObjectRef where) {
  VARVE_RETURN_IF_ERROR(rename_object(ref(), where, ReplaceMode::kNoReplace));
  if (folder_name_.empty()) name_.clear();
  return {};
}

Status Draft::withdraw(ObjectRef where) {
  std::string name = stage_->new_name();
  VARVE_RETURN_IF_ERROR(rename_object(where, {stage_->fd(), name}, ReplaceMode::kNoReplace));
  name_ = std::move(name);
  return {};
}

Status Draft::publish_over(ObjectRef where, bool is_directory) {
  // After an exchange the draft is what was there, and is discarded as such.
  if (is_directory) return rename_object(ref(), where, ReplaceMode::kExchange);
  VARVE_RETURN_IF_ERROR(rename_object(ref(), where, ReplaceMode::kReplace));
  if (folder_name_.empty()) name_.clear();
  return {};
}

}  // namespace varve::upper
