#include "imagetool/image/extract/layer_extract.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <vector>

#include "fs/base/unique_fd.h"
#include "fs/layer/open_beneath.h"
#include "imagetool/image/layer_walk.h"
#include "imagetool/image/object_at.h"
#include "imagetool/image/source/tree.h"

namespace varve::image {
namespace {

constexpr std::size_t kPieceBytes = 1 << 20;
constexpr unsigned kMaxDepth =
    2000;  // each level holds a descriptor and some stack; a hostile layer has millions

// One extraction. Every object is made by name in a directory that was opened without following links;
// attributes of a directory are set once everything is in it.
class DirectoryExtraction {
 public:
  DirectoryExtraction(const layer::Layer& layer, const std::string& target, int root, Monitor& monitor)
      : layer_(layer), target_(target), root_(root), monitor_(monitor), buffer_(kPieceBytes) {}
  StatusOrFailure run();
  const ExtractSummary& summary() const { return summary_; }

 private:
  struct Place {
    int directory;
    std::string name;
    std::string path;
  };
  std::string shown(const std::string& path) const { return join_path(target_, path); }
  void lose(const Place& place, const std::string& what, Errno error);
  StatusOrFailure extract_directory(LowerId id, int fd, const std::string& path);
  StatusOrFailure extract_entry(const NamedEntry& named, int directory, const std::string& path);
  StatusOrFailure extract_object(LowerId id, const Place& place);
  StatusOrFailure make_whiteout(const Place& place);
  ResultOrFailure<bool> make_special(const InodeSpec& spec, const Place& place);
  StatusOrFailure write_content(LowerId id, std::uint64_t size_bytes, const Place& place);
  StatusOrFailure copy_range(const layer::LowerFile& from, layer::Range range, const UniqueFd& to,
                             const Place& place);
  StatusOrFailure set_attributes(const InodeSpec& spec, const Place& place);
  void set_marks(const InodeSpec& spec, const Place& place);

  const layer::Layer& layer_;
  const std::string& target_;
  int root_;
  Monitor& monitor_;
  std::vector<std::byte> buffer_;
  ExtractSummary summary_;
  std::map<std::uint64_t, std::string> hard_links_;  // inode number -> first path
  bool warned_of_owners_ = false;
  unsigned depth_ = 0;  // of the next directory
};

void DirectoryExtraction::lose(const Place& place, const std::string& what, Errno error) {
  ++summary_.losses;
  monitor_.warn(shown(place.path) + ": " + what + ": " + std::strerror(error.value));
}

StatusOrFailure DirectoryExtraction::run() {
  VARVE_RETURN_IF_ERROR(extract_directory(layer_.root(), root_, ""));
  VARVE_ASSIGN(const InodeSpec spec, read_object(layer_, layer_.root(), ""));
  return set_attributes(spec, Place{root_, "", ""});
}

StatusOrFailure DirectoryExtraction::extract_directory(LowerId id, int fd, const std::string& path) {
  if (depth_++ > kMaxDepth) return Failure{ELOOP, shown(path) + ": more than 2000 directories deep"};
  VARVE_ASSIGN(const std::vector<NamedEntry> entries, sorted_entries(layer_, id, path));
  for (const NamedEntry& named : entries) {
    if (monitor_.cancelled()) return cancelled_failure();
    VARVE_RETURN_IF_ERROR(extract_entry(named, fd, path));
  }
  --depth_;
  return {};
}

StatusOrFailure DirectoryExtraction::extract_entry(const NamedEntry& named, int directory,
                                                   const std::string& path) {
  const Place place{directory, named.name, join_path(path, named.name)};
  ++summary_.objects;
  if (named.entry.kind == layer::Entry::Kind::kWhiteout) return make_whiteout(place);
  return extract_object(named.entry.id, place);
}

// Any user may make them since Linux 5.8 (fs/namei.c, vfs_mknod).
StatusOrFailure DirectoryExtraction::make_whiteout(const Place& place) {
  if (::mknodat(place.directory, place.name.c_str(), S_IFCHR, makedev(0, 0)) != 0) {
    lose(place, "cannot make a whiteout", Errno::last());
  }
  return {};
}

StatusOrFailure DirectoryExtraction::extract_object(LowerId id, const Place& place) {
  VARVE_ASSIGN(const InodeSpec spec, read_object(layer_, id, place.path));
  const Attributes& attributes = spec.attributes;
  if (attributes.nlink > 1 && !attributes.is_directory()) {
    const Result<std::uint64_t> number = layer_.inode_number(id);
    if (!number.ok()) return failure_from(number.error(), layer_.name() + ": /" + place.path);
    const auto [known, fresh] = hard_links_.emplace(*number, place.path);
    if (!fresh) {
      const Result<UniqueFd> first = layer::open_beneath(root_, known->second, O_PATH);
      if (!first.ok()) {
        lose(place, "hard link to " + known->second, first.error());
        return {};
      }
      const std::string link = "/proc/self/fd/" + std::to_string(first->get());
      if (::linkat(AT_FDCWD, link.c_str(), place.directory, place.name.c_str(), AT_SYMLINK_FOLLOW) != 0) {
        return failure_from(Errno::last(), shown(place.path));
      }
      return {};
    }
  }
  if (attributes.is_directory()) {
    if (::mkdirat(place.directory, place.name.c_str(), 0700) != 0) {
      return failure_from(Errno::last(), shown(place.path));
    }
    const Result<UniqueFd> fd = layer::open_beneath(place.directory, place.name, O_RDONLY | O_DIRECTORY);
    if (!fd.ok()) return failure_from(fd.error(), shown(place.path));
    VARVE_RETURN_IF_ERROR(extract_directory(id, fd->get(), place.path));
  } else if (attributes.is_regular()) {
    VARVE_RETURN_IF_ERROR(write_content(id, attributes.size_bytes, place));
  } else {
    VARVE_ASSIGN(const bool made, make_special(spec, place));
    if (!made) return {};
  }
  return set_attributes(spec, place);
}

ResultOrFailure<bool> DirectoryExtraction::make_special(const InodeSpec& spec, const Place& place) {
  const int result = spec.attributes.is_symlink()
                         ? ::symlinkat(spec.symlink_target.c_str(), place.directory, place.name.c_str())
                         : ::mknodat(place.directory, place.name.c_str(),
                                     (spec.attributes.mode & S_IFMT) | 0600, spec.attributes.rdev);
  if (result == 0) return true;
  if (errno != EPERM) return failure_from(Errno::last(), shown(place.path));
  lose(place, "cannot make the device", Errno::last());
  return false;
}

StatusOrFailure DirectoryExtraction::write_content(LowerId id, std::uint64_t size_bytes, const Place& place) {
  const UniqueFd to(::openat(place.directory, place.name.c_str(),
                             O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!to.valid()) return failure_from(Errno::last(), shown(place.path));
  const std::string where = layer_.name() + ": /" + place.path;
  const Result<std::unique_ptr<layer::LowerFile>> from = layer_.open_file(id);
  if (!from.ok()) return failure_from(from.error(), where);
  for (std::uint64_t offset = 0; offset < size_bytes;) {
    const Result<std::optional<layer::Range>> range = (*from)->next_data(offset);
    if (!range.ok()) return failure_from(range.error(), where);
    if (!range->has_value()) break;
    VARVE_RETURN_IF_ERROR(copy_range(**from, **range, to, place));
    offset = (*range)->offset_bytes + (*range)->size_bytes;
  }
  if (::ftruncate(to.get(), static_cast<off_t>(size_bytes)) != 0)
    return failure_from(Errno::last(), shown(place.path));
  summary_.content_bytes += size_bytes;
  return {};
}

StatusOrFailure DirectoryExtraction::copy_range(const layer::LowerFile& from, layer::Range range,
                                                const UniqueFd& to, const Place& place) {
  std::uint64_t offset = range.offset_bytes;
  const std::uint64_t end = range.offset_bytes + range.size_bytes;
  while (offset < end) {
    if (monitor_.cancelled()) return cancelled_failure();
    const std::size_t want = static_cast<std::size_t>(std::min<std::uint64_t>(buffer_.size(), end - offset));
    const Result<std::size_t> got = from.read(offset, std::span(buffer_).first(want));
    if (!got.ok()) return failure_from(got.error(), layer_.name() + ": /" + place.path);
    if (*got == 0) break;
    for (std::size_t put = 0; put < *got;) {
      const ssize_t wrote =
          ::pwrite(to.get(), buffer_.data() + put, *got - put, static_cast<off_t>(offset + put));
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote < 0) return failure_from(Errno::last(), shown(place.path));
      put += static_cast<std::size_t>(wrote);
    }
    offset += *got;
    monitor_.advance(*got);
  }
  return {};
}

// Owner first: chown(2) clears set-id bits and capabilities. Times last.
StatusOrFailure DirectoryExtraction::set_attributes(const InodeSpec& spec, const Place& place) {
  const Attributes& attributes = spec.attributes;
  const int at_flags = place.name.empty() ? AT_EMPTY_PATH : AT_SYMLINK_NOFOLLOW;
  const char* name = place.name.c_str();
  if (::fchownat(place.directory, name, attributes.uid, attributes.gid, at_flags) != 0) {
    if (errno != EPERM && errno != EINVAL) return failure_from(Errno::last(), shown(place.path));
    if (::geteuid() == 0 || errno == EINVAL) {
      lose(place, "cannot set its owner", Errno::last());
    } else if (!warned_of_owners_) {
      warned_of_owners_ = true;
      monitor_.warn(target_ +
                    ": owners are not set: only root may (everything belongs to the user who extracts)");
    }
  }
  // No AT_EMPTY_PATH in fchmodat(2) before Linux 6.6; the name is ours, just made, and no link.
  if (!attributes.is_symlink()) {
    const mode_t mode = attributes.mode & 07777;
    const int done =
        place.name.empty() ? ::fchmod(place.directory, mode) : ::fchmodat(place.directory, name, mode, 0);
    if (done != 0) return failure_from(Errno::last(), shown(place.path));
  }
  for (const auto& xattr : spec.xattrs) {
    const Status written = write_xattr(place.directory, place.name, xattr);
    if (!written.ok()) lose(place, "cannot set the extended attribute " + xattr.first, written.error());
  }
  set_marks(spec, place);
  const struct timespec when { attributes.mtime.seconds, static_cast<long>(attributes.mtime.nanoseconds) };
  const struct timespec times[2] = {when, when};
  const int done = place.name.empty() ? ::futimens(place.directory, times)
                                      : ::utimensat(place.directory, name, times, AT_SYMLINK_NOFOLLOW);
  if (done != 0) lose(place, "cannot set its time", Errno::last());
  return {};
}

void DirectoryExtraction::set_marks(const InodeSpec& spec, const Place& place) {
  const std::string prefix = ::geteuid() == 0 ? "trusted.overlay." : "user.overlay.";
  const auto mark = [&](const std::string& name, const std::string& value) {
    const Status written = write_xattr(place.directory, place.name, {prefix + name, value});
    if (!written.ok()) lose(place, "cannot mark it as " + name, written.error());
  };
  if (spec.opaque) mark("opaque", "y");
  if (spec.redirect) mark("redirect", *spec.redirect);
}

}  // namespace

ResultOrFailure<ExtractSummary> extract_to_directory(const layer::Layer& layer, const std::string& directory,
                                                     Monitor& monitor) {
  if (::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST) return failure_from(Errno::last(), directory);
  const UniqueFd root(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return failure_from(Errno::last(), directory);
  const Result<std::vector<std::string>> present = list_names(root.get());
  if (!present.ok()) return failure_from(present.error(), directory);
  if (!present->empty())
    return Failure{ENOTEMPTY, directory + ": is not empty (extract into a new directory)"};
  DirectoryExtraction extraction(layer, directory, root.get(), monitor);
  VARVE_RETURN_IF_ERROR(extraction.run());
  return extraction.summary();
}

}  // namespace varve::image
