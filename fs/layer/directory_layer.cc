#include "fs/layer/directory_layer.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>

#include "fs/base/log.h"
#include "fs/format/hash.h"
#include "fs/format/override_stat.h"
#include "fs/layer/hidden_names.h"
#include "fs/layer/object_xattr.h"
#include "fs/layer/open_beneath.h"
#include "fs/layer/plain_file.h"
#include "fs/layer/read_fully.h"

namespace varve::layer {
namespace {

// Numbers below this are the file system's own, those from it up to 2^40 are hashes.
constexpr std::uint64_t kFirstHashedNumber = std::uint64_t{1} << 39;

constexpr std::array<const char*, 3> kOpaqueXattrs = {"trusted.overlay.opaque", "user.overlay.opaque",
                                                      "user.fuseoverlayfs.opaque"};
constexpr std::array<const char*, 4> kRedirectXattrs = {"trusted.overlay.redirect", "user.overlay.redirect",
                                                        "trusted.varve.redirect", "user.varve.redirect"};
// Files of which only a part, or nothing, lies in this directory: an overlayfs metacopy, a partly copied
// varve file.
constexpr std::array<const char*, 4> kPartialXattrs = {"trusted.overlay.metacopy", "user.overlay.metacopy",
                                                       "trusted.varve.base", "user.varve.base"};
// On a character device 0:0 that somebody made in a varve mount, and that is therefore no whiteout.
constexpr std::array<const char*, 2> kDeviceXattrs = {"trusted.varve.device", "user.varve.device"};
constexpr std::array<const char*, 2> kWhiteoutXattrs = {"trusted.overlay.whiteout", "user.overlay.whiteout"};

// Access control lists of an upper whose owners are kept in overrides, and the xattrs that they are shown as.
constexpr std::array<std::pair<const char*, const char*>, 4> kAclMarks = {
    std::pair{"trusted.varve.acl_access", "system.posix_acl_access"},
    std::pair{"user.varve.acl_access", "system.posix_acl_access"},
    std::pair{"trusted.varve.acl_default", "system.posix_acl_default"},
    std::pair{"user.varve.acl_default", "system.posix_acl_default"}};

// The xattr that is kept in this mark; null when it is no such mark.
const char* acl_in_mark(std::string_view name) {
  for (const auto& [mark, shown] : kAclMarks) {
    if (name == mark) return shown;
  }
  return nullptr;
}

// fstatat of one name; empty when there is none.
Result<std::optional<struct stat>> stat_name(int directory_fd, const std::string& name) {
  struct stat status {};
  if (::fstatat(directory_fd, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) return std::optional(status);
  if (errno == ENOENT || errno == ENAMETOOLONG) return std::optional<struct stat>();
  return Errno::last();
}

// Of the xattrs `names` the first that the object has; empty when it has none.
template <std::size_t N>
Result<std::optional<std::string>> first_xattr(int fd, const std::array<const char*, N>& names) {
  for (const char* name : names) {
    auto value = object_xattr(fd, name);
    if (value.ok()) return std::optional<std::string>(std::move(value).value());
    if (value.error() != Errno{ENODATA}) return value.error();
  }
  return std::optional<std::string>();
}

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

Identity identity_of(int fd) {
  struct statx status {};
  // Without a time of birth (tmpfs before 5.19, some network file systems) the inode number stands alone.
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &status) != 0) return {};
  const bool has_birth = (status.stx_mask & STATX_BTIME) != 0;
  return Identity{Identity::Kind::kDirectory,
                  fmt::format("{}.{}.{}", status.stx_ino, has_birth ? status.stx_btime.tv_sec : 0,
                              has_birth ? status.stx_btime.tv_nsec : 0)};
}

Failure cannot_open(const std::string& path, Errno error) {
  switch (error.value) {
    case ENOENT:
      return Failure{ENOENT, path + ": no such layer (check the path)"};
    case ENOTDIR:
      return Failure{ENOTDIR, path + ": not a directory (check the path)"};
    case EACCES:
    case EPERM:
      return Failure{error.value,
                     path + ": permission denied (make the directory readable and searchable to this user)"};
    default:
      return Failure{error.value, fmt::format("{}: cannot be opened: {}", path, std::strerror(error.value))};
  }
}

}  // namespace

std::size_t DirectoryLayer::ObjectKeyHash::operator()(const ObjectKey& key) const noexcept {
  return static_cast<std::size_t>(key.inode * 0x9E3779B97F4A7C15ULL ^ key.device);
}

DirectoryLayer::DirectoryLayer(UniqueFd root, std::string path, bool overrides)
    : root_(std::move(root)), name_(std::move(path)), overrides_(overrides) {}

ResultOrFailure<std::unique_ptr<DirectoryLayer>> DirectoryLayer::open(const std::string& path,
                                                                      bool overrides) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return cannot_open(path, Errno::last());
  struct stat status {};
  // By the name ".", because walking through the directory needs the right to search it, and opening it does
  // not.
  if (::fstatat(fd.get(), ".", &status, AT_SYMLINK_NOFOLLOW) != 0) return cannot_open(path, Errno::last());
  std::unique_ptr<DirectoryLayer> layer(new DirectoryLayer(std::move(fd), path, overrides));
  layer->root_device_ = status.st_dev;
  layer->identity_ = identity_of(layer->root_.get());
  layer->intern(LowerId{0}, "", status);
  return layer;
}

Result<const DirectoryLayer::Node*> DirectoryLayer::node(LowerId id) const {
  ReaderLock lock(mutex_);
  if (id.value() == 0 || id.value() > nodes_.size()) return Errno{ESTALE};
  return &nodes_[id.value() - 1];
}

Result<std::string> DirectoryLayer::relative_path(LowerId id) const {
  std::vector<const std::string*> names;
  for (std::uint64_t current = id.value(); current != root().value();) {
    VARVE_ASSIGN(const Node* step, node(LowerId{current}));
    names.push_back(&step->name);
    current = step->parent;
  }
  if (names.empty()) return std::string(".");
  std::string path;
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    if (!path.empty()) path += '/';
    path += **name;
  }
  return path;
}

Result<UniqueFd> DirectoryLayer::open_object(LowerId id, int flags) const {
  VARVE_ASSIGN(const Node* wanted, node(id));
  VARVE_ASSIGN(const std::string path, relative_path(id));
  VARVE_ASSIGN(UniqueFd fd, open_beneath(root_.get(), path, flags));
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return Errno::last();
  if (wanted->key != ObjectKey{status.st_dev, status.st_ino}) return Errno{ESTALE};
  return fd;
}

LowerId DirectoryLayer::intern(LowerId directory, std::string_view name, const struct stat& status) const {
  const ObjectKey key{status.st_dev, status.st_ino};
  {
    ReaderLock lock(mutex_);
    if (const auto found = ids_.find(key); found != ids_.end()) return LowerId{found->second};
  }
  WriterLock lock(mutex_);
  if (const auto found = ids_.find(key); found != ids_.end()) return LowerId{found->second};
  nodes_.push_back(Node{directory.value(), std::string(name), key, choose_number_locked(key)});
  try {
    ids_.emplace(key, nodes_.size());
  } catch (...) {
    nodes_.pop_back();
    throw;
  }
  return LowerId{nodes_.size()};
}

// Another file system below the root, or an inode number of more than 39 bits, gets a hash. Should two hashes
// meet (about 1 in 10^6 for a thousand such objects) the one seen second moves on, so that only then the
// order of look-ups shows.
std::uint64_t DirectoryLayer::choose_number_locked(const ObjectKey& key) const {
  if (key.device == root_device_ && key.inode < kFirstHashedNumber) return key.inode;
  const std::array<std::uint64_t, 2> words = {key.device, key.inode};
  std::uint64_t number = format::xxh3_64(std::as_bytes(std::span(words)));
  for (;; ++number) {
    const std::uint64_t candidate = kFirstHashedNumber | (number & (kFirstHashedNumber - 1));
    const auto [place, added] = hashed_numbers_.try_emplace(candidate, key);
    if (added || place->second == key) return candidate;
  }
}

Result<Entry> DirectoryLayer::classify(int directory_fd, LowerId directory, Name name) const {
  if (name.view().starts_with(kWhiteoutPrefix)) return Entry{};
  const Entry whiteout{.kind = Entry::Kind::kWhiteout, .id = {}, .type = 0};
  VARVE_ASSIGN(const std::optional<struct stat> status, stat_name(directory_fd, name.str()));
  if (!status) {
    // Only now: `.wh.NAME` beside NAME deletes the NAME below, not this one (OCI image-spec, layer.md).
    VARVE_ASSIGN(const auto mark, stat_name(directory_fd, std::string(kWhiteoutPrefix) + name.str()));
    return mark ? whiteout : Entry{};
  }
  if (S_ISCHR(status->st_mode) && status->st_rdev == makedev(0, 0)) {
    VARVE_ASSIGN(const UniqueFd fd, open_beneath(directory_fd, name.str(), O_PATH));
    VARVE_ASSIGN(const auto device, first_xattr(fd.get(), kDeviceXattrs));
    if (!device) return whiteout;
  }
  if (S_ISREG(status->st_mode) && status->st_size == 0) {
    VARVE_ASSIGN(const UniqueFd fd, open_beneath(directory_fd, name.str(), O_PATH));
    VARVE_ASSIGN(const auto mark, first_xattr(fd.get(), kWhiteoutXattrs));
    if (mark) return whiteout;
  }
  std::uint32_t type = status->st_mode & S_IFMT;
  if (overrides_ && S_ISREG(type)) {
    VARVE_ASSIGN(const UniqueFd fd, open_beneath(directory_fd, name.str(), O_PATH));
    VARVE_ASSIGN(const Attributes shown, shown_attributes(fd.get(), *status));
    type = shown.mode & S_IFMT;
  }
  return Entry{.kind = Entry::Kind::kObject, .id = intern(directory, name.view(), *status), .type = type};
}

Result<Attributes> DirectoryLayer::shown_attributes(int fd, const struct stat& status) const {
  Attributes attributes = attributes_from_stat(status);
  if (!overrides_ || (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))) return attributes;
  const auto value = object_xattr(fd, format::kOverrideXattr);
  if (!value.ok() && value.error() == Errno{ENODATA}) return attributes;
  if (!value.ok()) return value.error();
  const auto override = format::parse_override_stat(*value);
  if (override && format::apply_override_stat(*override, attributes)) return attributes;
  log_error("layer {}: inode {}: the xattr {} cannot be understood: {}", name_, status.st_ino,
            format::kOverrideXattr, value->substr(0, 80));
  return Errno{EIO};
}

Result<Entry> DirectoryLayer::look_up(LowerId directory, Name name) const {
  VARVE_ASSIGN(const UniqueFd fd, open_object(directory, O_PATH | O_DIRECTORY));
  return classify(fd.get(), directory, name);
}

Result<bool> DirectoryLayer::has_sibling_whiteout(LowerId directory) const {
  if (directory == root()) return false;
  VARVE_ASSIGN(const Node* self, node(directory));
  VARVE_ASSIGN(const UniqueFd parent, open_object(LowerId{self->parent}, O_PATH | O_DIRECTORY));
  VARVE_ASSIGN(const auto mark, stat_name(parent.get(), std::string(kWhiteoutPrefix) + self->name));
  return mark.has_value();
}

Result<DirectoryMark> DirectoryLayer::directory_mark(LowerId directory) const {
  VARVE_ASSIGN(const UniqueFd fd, open_object(directory, O_PATH | O_DIRECTORY));
  DirectoryMark mark;
  for (const char* name : kOpaqueXattrs) {
    const auto value = object_xattr(fd.get(), name);
    // "x" says that files with the whiteout xattr are inside (overlayfs.rst), and hides nothing.
    if (value.ok() && *value == "y") mark.opaque = true;
    if (!value.ok() && value.error() != Errno{ENODATA}) return value.error();
  }
  if (!mark.opaque) {
    VARVE_ASSIGN(const auto opaque_file, stat_name(fd.get(), std::string(kOpaqueName)));
    mark.opaque = opaque_file.has_value();
  }
  if (!mark.opaque) {
    VARVE_ASSIGN(mark.opaque, has_sibling_whiteout(directory));
  }
  VARVE_ASSIGN(const std::optional<std::string> redirect, first_xattr(fd.get(), kRedirectXattrs));
  if (!redirect) return mark;
  VARVE_ASSIGN(mark.redirect, path_below(directory));
  return mark;
}

Result<std::string> DirectoryLayer::path_below(LowerId directory) const {
  if (directory == root()) return std::string();
  VARVE_ASSIGN(const UniqueFd fd, open_object(directory, O_PATH | O_DIRECTORY));
  VARVE_ASSIGN(const std::optional<std::string> redirect, first_xattr(fd.get(), kRedirectXattrs));
  VARVE_ASSIGN(const Node* self, node(directory));
  const std::string step = redirect.value_or(self->name);
  if (step.starts_with('/')) return step;
  if (step.empty() || step.find('/') != std::string::npos) {
    // Without it the view would show another directory's content, or none.
    VARVE_ASSIGN(const std::string path, relative_path(directory));
    log_error("layer {}: directory /{}: a redirect that is neither an absolute path nor a name ({})", name_,
              path, step);
    return Errno{EIO};
  }
  VARVE_ASSIGN(const std::string parent, path_below(LowerId{self->parent}));
  return parent + "/" + step;
}

Status DirectoryLayer::for_each_entry(LowerId directory, const EntryVisitor& visit) const {
  VARVE_ASSIGN(UniqueFd fd, open_object(directory, O_RDONLY | O_DIRECTORY | O_NOATIME));
  const std::unique_ptr<DIR, CloseDirectory> stream(::fdopendir(fd.get()));
  if (!stream) return Errno::last();
  const int directory_fd = fd.release();  // the stream owns it now
  std::vector<std::string> whiteouts;
  for (;;) {
    errno = 0;
    const struct dirent* entry = ::readdir(stream.get());
    if (entry == nullptr) {
      if (errno != 0) return Errno::last();
      break;
    }
    const std::string_view text = entry->d_name;
    if (text.starts_with(kWhiteoutPrefix)) {
      if (!text.starts_with(kAufsPrefix)) whiteouts.emplace_back(text.substr(kWhiteoutPrefix.size()));
      continue;
    }
    const auto name = Name::parse(text);
    if (!name.ok()) continue;  // "." and ".."
    VARVE_ASSIGN(const Entry seen, classify(directory_fd, directory, *name));
    if (seen.kind != Entry::Kind::kAbsent && !visit(text, seen)) return {};
  }
  for (const std::string& text : whiteouts) {
    if (!Name::parse(text).ok()) continue;
    VARVE_ASSIGN(const auto status, stat_name(directory_fd, text));
    if (status) continue;
    if (!visit(text, Entry{.kind = Entry::Kind::kWhiteout, .id = {}, .type = 0})) return {};
  }
  return {};
}

Result<Attributes> DirectoryLayer::attributes(LowerId id) const {
  VARVE_ASSIGN(const UniqueFd fd, open_object(id, O_PATH));
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return Errno::last();
  return shown_attributes(fd.get(), status);
}

Result<std::uint64_t> DirectoryLayer::inode_number(LowerId id) const {
  VARVE_ASSIGN(const Node* wanted, node(id));
  return wanted->number;
}

Result<std::string> DirectoryLayer::path_of(LowerId id) const {
  if (id == root()) return std::string("/");
  VARVE_ASSIGN(const std::string path, relative_path(id));
  return "/" + path;
}

Result<std::string> DirectoryLayer::read_link(LowerId id) const {
  VARVE_ASSIGN(const UniqueFd fd, open_object(id, O_PATH));
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return Errno::last();
  if (overrides_ && S_ISREG(status.st_mode)) {
    VARVE_ASSIGN(const Attributes shown, shown_attributes(fd.get(), status));
    return shown.is_symlink() ? read_stand_in(id, shown.size_bytes) : Result<std::string>(Errno{EINVAL});
  }
  std::string target(PATH_MAX, '\0');
  const ssize_t size = ::readlinkat(fd.get(), "", target.data(), target.size());
  // ENOENT: an O_PATH descriptor of something else than a link (readlinkat(2)).
  if (size < 0) return errno == ENOENT ? Errno{EINVAL} : Errno::last();
  target.resize(static_cast<std::size_t>(size));
  return target;
}

Result<std::string> DirectoryLayer::read_stand_in(LowerId id, std::uint64_t size_bytes) const {
  VARVE_ASSIGN(const UniqueFd fd, open_object(id, O_RDONLY | O_NOATIME | O_NONBLOCK));
  std::string target(std::min<std::uint64_t>(size_bytes, PATH_MAX), '\0');
  VARVE_RETURN_IF_ERROR(read_fully(fd.get(), 0, std::as_writable_bytes(std::span(target))));
  if (!target.empty() && target.size() < PATH_MAX && target.find('\0') == std::string::npos) return target;
  VARVE_ASSIGN(const std::string path, relative_path(id));
  log_error("layer {}: /{}: stands for a symbolic link, but holds no target", name_, path);
  return Errno{EIO};
}

Result<std::vector<std::string>> DirectoryLayer::xattr_names(LowerId id) const {
  VARVE_ASSIGN(const UniqueFd fd, open_object(id, O_PATH));
  VARVE_ASSIGN(std::vector<std::string> names, object_xattr_names(fd.get()));
  std::vector<std::string> shown;
  for (std::string& name : names) {
    if (overrides_ && name == format::kOverrideXattr) continue;
    if (const char* acl = overrides_ ? acl_in_mark(name) : nullptr; acl != nullptr) name = acl;
    if (!is_hidden_xattr(name) && std::find(shown.begin(), shown.end(), name) == shown.end()) {
      shown.push_back(std::move(name));
    }
  }
  return shown;
}

Result<std::string> DirectoryLayer::xattr(LowerId id, std::string_view wanted) const {
  if (is_hidden_xattr(wanted) || (overrides_ && wanted == format::kOverrideXattr)) return Errno{ENODATA};
  VARVE_ASSIGN(const UniqueFd fd, open_object(id, O_PATH));
  if (overrides_) {
    for (const auto& [mark, shown] : kAclMarks) {
      if (wanted != shown) continue;
      auto kept = object_xattr(fd.get(), mark);
      if (kept.ok() || kept.error() != Errno{ENODATA}) return kept;
    }
  }
  return object_xattr(fd.get(), std::string(wanted));
}

Result<std::unique_ptr<LowerFile>> DirectoryLayer::open_file(LowerId id) const {
  // O_NONBLOCK: were it a FIFO by now, opening must not wait; ESTALE follows.
  VARVE_ASSIGN(UniqueFd fd, open_object(id, O_RDONLY | O_NOATIME | O_NONBLOCK));
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return Errno::last();
  if (!S_ISREG(status.st_mode)) return Errno{S_ISDIR(status.st_mode) ? EISDIR : EINVAL};
  VARVE_ASSIGN(const auto partial, first_xattr(fd.get(), kPartialXattrs));
  if (partial) {
    // The rest of the content lies elsewhere, and here are zeros in its place.
    VARVE_ASSIGN(const std::string path, relative_path(id));
    log_error(
        "layer {}: file /{}: only a part of its content lies here (overlayfs metacopy or partly copied varve "
        "file); make a layer of the whole container instead (imagetool commit)",
        name_, path);
    return Errno{EIO};
  }
  return std::unique_ptr<LowerFile>(
      std::make_unique<PlainFile>(std::move(fd), static_cast<std::uint64_t>(status.st_size)));
}

}  // namespace varve::layer
