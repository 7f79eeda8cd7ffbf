#include "imagetool/image/source/directory_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <deque>

#include "fs/layer/hidden_names.h"
#include "fs/layer/open_beneath.h"
#include "imagetool/image/object_at.h"
#include "imagetool/image/source/sparse_content.h"
#include "imagetool/image/source/union_marks.h"

namespace varve::image {
namespace {

constexpr unsigned kMaxDepth = 2000;
constexpr std::size_t kPieceBytes =
    256 << 10;  // within a processor's own cache: what is read is then hashed and copied
// So many files are open before they are packed, with so much of each on its way from the disk.
constexpr std::size_t kAheadFiles = 32;
constexpr off_t kAheadBytes = 1 << 20;
constexpr std::size_t kMostSketched = 1 << 17;

// What tells that a file was written to.
std::array<std::int64_t, 5> stamp_of(const struct stat& of) {
  return {of.st_size, of.st_mtim.tv_sec, of.st_mtim.tv_nsec, of.st_ctim.tv_sec, of.st_ctim.tv_nsec};
}

bool is_mount_point(int directory_fd) {
  struct statx found {};
  return ::statx(directory_fd, "", AT_EMPTY_PATH, STATX_TYPE, &found) == 0 &&
         (found.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

}  // namespace

struct DirectorySource::Directory {
  int fd = -1;
  TreeIndex node = kTreeRoot;
  std::string path;        // from the root, without a leading '/'
  std::string lower_path;  // what layers below call it, "/a/b"
  dev_t device = 0;
  unsigned depth = 0;
};

ResultOrFailure<std::unique_ptr<DirectorySource>> DirectorySource::open(const std::string& path,
                                                                        Options options, Monitor& monitor) {
  UniqueFd root(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return failure_from(Errno::last(), path);
  return std::unique_ptr<DirectorySource>(
      new DirectorySource(path, std::move(root), std::move(options), monitor));
}

std::string DirectorySource::shown(std::string_view path) const {
  return join_path(path_, path);
}

// `name` empty: the directory `in` itself.
ResultOrFailure<InodeSpec> DirectorySource::read_spec(const Directory& in, const std::string& name,
                                                      const Attributes& attributes) {
  const std::string path = name.empty() ? in.path : join_path(in.path, name);
  InodeSpec spec;
  spec.attributes = attributes;
  Result<XattrList> xattrs = read_xattrs(in.fd, name);
  if (!xattrs.ok()) return failure_from(xattrs.error(), shown(path) + ": extended attributes");
  spec.xattrs = std::move(xattrs).value();
  if (attributes.is_symlink()) {
    Result<std::string> target = read_link_at(in.fd, name);
    if (!target.ok()) return failure_from(target.error(), shown(path));
    spec.symlink_target = std::move(target).value();
  }
  if (!options_.literal && !is_xattr_whiteout(spec)) {
    const StatusOrFailure marks = take_union_marks(spec, in.lower_path);
    if (!marks.ok()) return Failure{marks.error().error_number, shown(path) + ": " + marks.error().message};
  }
  return spec;
}

// True when the name was a mark in the manner of AUFS and is dealt with.
ResultOrFailure<bool> DirectorySource::take_aufs_mark(Tree& tree, const Directory& in,
                                                      const std::string& name, const struct stat& status) {
  const AufsName kind = options_.literal ? AufsName::kOrdinary : classify_aufs_name(name);
  if (kind == AufsName::kOrdinary) return false;
  const std::string path = shown(join_path(in.path, name));
  if (kind == AufsName::kBroken) return Failure{EINVAL, path + ": a whiteout of nothing"};
  if (kind == AufsName::kLeftover) {
    monitor_.warn(path + ": bookkeeping of AUFS, left out");
    return true;
  }
  if (!S_ISREG(status.st_mode) || status.st_size != 0) {
    monitor_.warn(
        path +
        ": a whiteout by its name; what else it is, and its content, are left out (--literal keeps it)");
  }
  if (kind == AufsName::kOpaque) {
    tree.set_opaque(in.node);
  } else {
    put_whiteout(tree, in.node, std::string_view(name).substr(layer::kWhiteoutPrefix.size()));
  }
  return true;
}

StatusOrFailure DirectorySource::scan_name(Tree& tree, const Directory& in, const std::string& name) {
  const std::string path = join_path(in.path, name);
  if (options_.filter.excludes(path)) return {};
  struct stat status {};
  if (::fstatat(in.fd, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
    return failure_from(Errno::last(), shown(path));
  }
  VARVE_ASSIGN(const bool was_mark, take_aufs_mark(tree, in, name, status));
  if (was_mark) return {};
  if (options_.one_file_system && status.st_dev != in.device && !S_ISDIR(status.st_mode)) {
    monitor_.warn(shown(path) + ": of another file system, left out");
    return {};
  }
  const Attributes attributes = attributes_from_stat(status);
  if (!options_.literal && is_overlay_whiteout(attributes)) {
    tree.set_whiteout(in.node, name);
    return {};
  }
  const std::pair<std::uint64_t, std::uint64_t> identity(status.st_dev, status.st_ino);
  const bool linked = attributes.nlink > 1 && !attributes.is_directory();
  if (linked) {
    if (const auto known = hard_links_.find(identity); known != hard_links_.end()) {
      put_object(tree, in.node, name, known->second);
      return {};
    }
  }
  VARVE_ASSIGN(InodeSpec spec, read_spec(in, name, attributes));
  if (!options_.literal && is_xattr_whiteout(spec)) {
    tree.set_whiteout(in.node, name);
    return {};
  }
  const TreeIndex node = tree.add(std::move(spec));
  put_object(tree, in.node, name, node);
  if (linked) hard_links_.emplace(identity, node);
  if (!attributes.is_directory()) return {};

  const Result<UniqueFd> opened = layer::open_beneath(in.fd, name, O_RDONLY | O_DIRECTORY | O_NOATIME);
  if (!opened.ok()) return failure_from(opened.error(), shown(path));
  if (is_mount_point(opened->get())) {
    monitor_.warn(
        shown(path) +
        (options_.one_file_system
             ? ": a mount point, empty in the layer"
             : ": a mount point; what is mounted there is taken (--one-file-system leaves it out)"));
    if (options_.one_file_system) return {};
  }
  const std::string lower =
      tree.node(node).spec.redirect.value_or((in.lower_path == "/" ? "" : in.lower_path) + "/" + name);
  return scan_directory(tree, Directory{opened->get(), node, path, lower, status.st_dev, in.depth + 1});
}

// One descriptor and some stack a level.
StatusOrFailure DirectorySource::scan_directory(Tree& tree, const Directory& directory) {
  if (monitor_.cancelled()) return cancelled_failure();
  if (directory.depth > kMaxDepth)
    return Failure{ELOOP, shown(directory.path) + ": more than 2000 directories deep"};
  const Result<std::vector<std::string>> names = list_names(directory.fd);
  if (!names.ok()) return failure_from(names.error(), shown(directory.path));
  for (const std::string& name : *names) VARVE_RETURN_IF_ERROR(scan_name(tree, directory, name));
  return {};
}

ResultOrFailure<Tree> DirectorySource::scan() {
  struct stat status {};
  if (::fstat(root_.get(), &status) != 0) return failure_from(Errno::last(), path_);
  const Directory root{root_.get(), kTreeRoot, "", "/", status.st_dev, 0};
  VARVE_ASSIGN(InodeSpec spec, read_spec(root, "", attributes_from_stat(status)));
  Tree tree(std::move(spec));
  VARVE_RETURN_IF_ERROR(scan_directory(tree, root));
  return tree;
}

ResultOrFailure<DirectorySource::OpenFile> DirectorySource::open_content(ContentFile file) {
  // O_NOATIME keeps the source as it was. O_NONBLOCK: should it be a fifo by now.
  Result<UniqueFd> opened = layer::open_beneath(root_.get(), file.path, O_RDONLY | O_NOATIME | O_NONBLOCK);
  if (!opened.ok()) return failure_from(opened.error(), shown(file.path));
  struct stat status {};
  if (::fstat(opened->get(), &status) != 0) return failure_from(Errno::last(), shown(file.path));
  if (!S_ISREG(status.st_mode)) {
    return Failure{EIO, shown(file.path) + ": changed its type while the directory was read (try again)"};
  }
  // The kernel reads while the files before are being packed. A hint: what comes of it does not matter.
  ::posix_fadvise(opened->get(), 0, kAheadBytes, POSIX_FADV_WILLNEED);
  return OpenFile{std::move(file), std::move(opened).value(), stamp_of(status)};
}

// A file that cannot be read is like no other: it is reported when its content is taken.
Sketch DirectorySource::read_sketch(const ContentFile& file, std::span<std::byte> buffer) const {
  const Result<UniqueFd> opened =
      layer::open_beneath(root_.get(), file.path, O_RDONLY | O_NOATIME | O_NONBLOCK);
  std::size_t have = 0;
  while (opened.ok() && have < buffer.size()) {
    const ssize_t got =
        ::pread(opened->get(), buffer.data() + have, buffer.size() - have, static_cast<off_t>(have));
    if (got <= 0) break;
    have += static_cast<std::size_t>(got);
  }
  return sketch_of(buffer.first(have));
}

StatusOrFailure DirectorySource::sort_by_similarity(const Tree& tree, ContentOrder& order) const {
  const std::size_t first = order.first_small();
  if (order.size() - first > kMostSketched) return {};
  std::vector<std::byte> buffer(large_bytes_);
  std::vector<Sketch> sketches;
  sketches.reserve(order.size() - first);
  for (std::size_t position = first; position < order.size(); ++position) {
    if (monitor_.cancelled()) return cancelled_failure();
    const ContentFile file = order[position];
    sketches.push_back(read_sketch(file, std::span(buffer).first(tree.size_bytes(file.node))));
  }
  VARVE_ASSIGN(const std::vector<std::uint32_t> by_similarity, order_by_similarity(sketches, monitor_));
  order.reorder_small(by_similarity);
  return {};
}

StatusOrFailure DirectorySource::take_content(const Tree& tree, const OpenFile& open,
                                              const ContentConsumer& take) {
  const std::string path = shown(open.file.path);
  const std::uint64_t size_bytes = tree.size_bytes(open.file.node);
  SparseContent content(open.fd.get(), size_bytes, path, buffer_, monitor_);
  VARVE_RETURN_IF_ERROR(take(open.file.node, content));
  struct stat status {};
  if (::fstat(open.fd.get(), &status) != 0) return failure_from(Errno::last(), path);
  if (static_cast<std::uint64_t>(status.st_size) < size_bytes) {
    return Failure{EIO, path + ": became shorter while it was read (try again when nobody writes to it)"};
  }
  const bool changed =
      stamp_of(status) != open.stamp || static_cast<std::uint64_t>(status.st_size) != size_bytes;
  if (changed && told_changed_.insert(open.file.node).second) {
    monitor_.warn(path + ": changed while it was read; the layer holds parts of both states");
  }
  return {};
}

StatusOrFailure DirectorySource::for_each_content(const Tree& tree, const ContentConsumer& take) {
  buffer_.resize(kPieceBytes);
  ContentOrder order = files_in_layer_order(tree, large_bytes_);
  if (by_similarity_) VARVE_RETURN_IF_ERROR(sort_by_similarity(tree, order));
  std::deque<OpenFile> ahead;
  for (std::size_t next = 0; next < order.size() || !ahead.empty();) {
    for (; next < order.size() && ahead.size() < kAheadFiles; ++next) {
      VARVE_ASSIGN(OpenFile opened, open_content(order[next]));
      ahead.push_back(std::move(opened));
    }
    VARVE_RETURN_IF_ERROR(take_content(tree, ahead.front(), take));
    ahead.pop_front();
  }
  return {};
}

}  // namespace varve::image
