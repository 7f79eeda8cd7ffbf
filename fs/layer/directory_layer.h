#pragma once

// DirectoryLayer: a plain directory as a layer, also one that overlayfs, fuse-overlayfs or an unpacker of OCI layers
// wrote. Of these it understands
//   whiteouts    character device 0:0; `.wh.NAME`; empty file with {trusted,user}.overlay.whiteout
//   opaque       `.wh..wh..opq`; {trusted,user}.overlay.opaque = y; user.fuseoverlayfs.opaque = y; a directory NAME
//                beside `.wh.NAME`
//   redirects    {trusted,user}.{overlay,varve}.redirect with an absolute path
//   partial      metacopy, varve's base mark: EIO when opened, as the rest of the content is not here
//   overrides    where it is told to read them: owner, mode and type from user.containers.override_stat (format/override_stat.h),
//                access control lists from varve's marks
// and hides these xattrs and names. Sources: Linux Documentation/filesystems/overlayfs.rst, fs/overlayfs/namei.c,
// OCI image-spec layer.md ("Whiteouts").
// The directory must not change while the layer is open; if it does, what is seen is undefined, but an object that was
// replaced answers ESTALE rather than with another object's data.
// Thread rule and ownership: layer.h.

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fs/base/mutex.h"
#include "fs/base/result.h"
#include "fs/base/unique_fd.h"
#include "fs/layer/layer.h"

namespace varve::layer {

class DirectoryLayer final : public Layer {
 public:
  // Returns: a Failure "PATH: why (what to do)".
  static ResultOrFailure<std::unique_ptr<DirectoryLayer>> open(const std::string& path,
                                                               bool overrides = false);

  const Identity& identity() const override { return identity_; }
  const std::string& name() const override { return name_; }
  LowerId root() const override { return LowerId{1}; }
  Result<Entry> look_up(LowerId directory, Name name) const override;
  Result<DirectoryMark> directory_mark(LowerId directory) const override;
  Status for_each_entry(LowerId directory, const EntryVisitor& visit) const override;
  Result<Attributes> attributes(LowerId id) const override;
  Result<std::uint64_t> inode_number(LowerId id) const override;
  Result<std::string> path_of(LowerId id) const override;
  Result<std::string> read_link(LowerId id) const override;
  Result<std::vector<std::string>> xattr_names(LowerId id) const override;
  Result<std::string> xattr(LowerId id, std::string_view name) const override;
  Result<std::unique_ptr<LowerFile>> open_file(LowerId id) const override;

 private:
  struct ObjectKey {
    dev_t device = 0;
    ino_t inode = 0;
    friend bool operator==(const ObjectKey&, const ObjectKey&) = default;
  };
  struct ObjectKeyHash {
    std::size_t operator()(const ObjectKey& key) const noexcept;
  };
  // An object that was seen; never changes once made.
  struct Node {
    std::uint64_t parent = 0;  // id; 0 for the root
    std::string name;
    ObjectKey key;
    std::uint64_t number = 0;  // inode_number()
  };

  DirectoryLayer(UniqueFd root, std::string path, bool overrides);

  // The node of `id`. Returns: ESTALE for an id that was never handed out.
  Result<const Node*> node(LowerId id) const;
  // "a/b", "." for the root.
  Result<std::string> relative_path(LowerId id) const;
  // Opens the object without following links and checks that it is still the one that was looked up.
  Result<UniqueFd> open_object(LowerId id, int flags) const;
  // The id of what fstatat told of `name` in `directory`.
  LowerId intern(LowerId directory, std::string_view name, const struct stat& status) const;
  // What the object is shown as. Returns: EIO for an override that cannot be understood or does not fit (one log line).
  Result<Attributes> shown_attributes(int fd, const struct stat& status) const;
  std::uint64_t choose_number_locked(const ObjectKey& key) const REQUIRES(mutex_);
  Result<Entry> classify(int directory_fd, LowerId directory, Name name) const;
  Result<std::string> read_stand_in(LowerId id, std::uint64_t size_bytes) const;
  Result<bool> has_sibling_whiteout(LowerId directory) const;
  // Where in the layers below that lies which merges with `directory`, by its redirects and those above it ("/a/b").
  // A redirect without a slash names a directory of the same parent, as overlayfs writes it.
  Result<std::string> path_below(LowerId directory) const;

  UniqueFd root_;
  std::string name_;
  const bool overrides_;
  Identity identity_;
  dev_t root_device_ = 0;

  mutable SharedMutex mutex_;
  mutable std::deque<Node> nodes_ GUARDED_BY(mutex_);  // index = id - 1; elements stay where they are
  mutable std::unordered_map<ObjectKey, std::uint64_t, ObjectKeyHash> ids_ GUARDED_BY(mutex_);
  mutable std::unordered_map<std::uint64_t, ObjectKey> hashed_numbers_ GUARDED_BY(mutex_);
};

}  // namespace varve::layer
