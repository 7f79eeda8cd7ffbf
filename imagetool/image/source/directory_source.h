#pragma once

// DirectorySource: a directory of the machine as a TreeSource, or, since its marks are understood, the upper
// or diff directory of overlayfs, fuse-overlayfs or AUFS. All of it is taken: sockets too, which layers hold, and what is mounted
// in it (each mount point is named in a warning), unless it is to stay in one file system. Access times stay as they were, where the
// user owns the files. A path that cannot be read is an error that names it.
//
// The directory should be at rest: a path that vanishes or changes its type between the passes, and a file that becomes shorter
// while it is read, are errors that name it; a file that changes otherwise is named in a warning. What digests cover is what
// was read in any case. Thread rule: one thread. Ownership: owns its descriptors; borrows the monitor.

#include <sys/stat.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fs/base/unique_fd.h"
#include "imagetool/image/source/content_order.h"
#include "imagetool/image/source/similarity.h"
#include "imagetool/image/source/tree_source.h"

namespace varve::image {

class DirectorySource : public TreeSource {
 public:
  struct Options {
    PathFilter filter;
    // Take whiteouts, opaque marks and bookkeeping xattrs of union file systems as what they are in this
    // directory: devices, files and xattrs like any other.
    bool literal = false;
    // Mount points are empty directories, files of other file systems are left out; each is named in a warning.
    bool one_file_system = false;
  };
  // Returns: a Failure "PATH: why".
  static ResultOrFailure<std::unique_ptr<DirectorySource>> open(const std::string& path, Options options,
                                                                Monitor& monitor);
  ResultOrFailure<Tree> scan() override;
  StatusOrFailure for_each_content(const Tree& tree, const ContentConsumer& take) override;

 private:
  struct Directory;  // one on the way from the root to what is being read
  struct OpenFile {
    ContentFile file;
    UniqueFd fd;
    std::array<std::int64_t, 5> stamp;
  };

  DirectorySource(std::string path, UniqueFd root, Options options, Monitor& monitor)
      : path_(std::move(path)), root_(std::move(root)), options_(std::move(options)), monitor_(monitor) {}
  std::string shown(std::string_view path) const;
  ResultOrFailure<InodeSpec> read_spec(const Directory& in, const std::string& name,
                                       const Attributes& attributes);
  ResultOrFailure<bool> take_aufs_mark(Tree& tree, const Directory& in, const std::string& name,
                                       const struct stat& status);
  StatusOrFailure scan_name(Tree& tree, const Directory& in, const std::string& name);
  StatusOrFailure scan_directory(Tree& tree, const Directory& directory);
  ResultOrFailure<OpenFile> open_content(ContentFile file);
  // Of more than kMostSketched files the order stays as it is: it would take too much memory.
  StatusOrFailure sort_by_similarity(const Tree& tree, ContentOrder& order) const;
  Sketch read_sketch(const ContentFile& file, std::span<std::byte> buffer) const;
  StatusOrFailure take_content(const Tree& tree, const OpenFile& open, const ContentConsumer& take);

  std::string path_;
  UniqueFd root_;
  Options options_;
  Monitor& monitor_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, TreeIndex> hard_links_;  // (device, inode)
  std::vector<std::byte> buffer_;                                            // pieces of contents
  std::set<TreeIndex> told_changed_;  // named in a warning: contents may be read again
};

}  // namespace varve::image
