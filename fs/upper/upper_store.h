#pragma once

// UpperStore: the writable side of a mount: the upper directory, a plain tree that `ls` understands, and the
// work directory beside it. It knows how things are written down (whiteouts, opaque marks, redirects,
// origins, partly copied files: docs/upper-format.md) and makes each change of the tree appear at once or not
// at all. It knows nothing of layers or of the union: the view decides what is done, this decides how.
//
// Thread rule: every method may be called from any thread; two calls that change the same name or the same
// object at once must be kept apart by the caller (the view's locks do). Ownership: owns its directory
// descriptors and the lock on upper and work; descriptors in ObjectRef are borrowed.

#include <sys/statvfs.h>
#include <time.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fs/base/attributes.h"
#include "fs/base/name.h"
#include "fs/base/result.h"
#include "fs/base/strong_id.h"
#include "fs/base/unique_fd.h"
#include "fs/layer/layer.h"

namespace varve::upper {

class CowHost;     // cow_host.h
struct MountNote;  // mount_note.h

// An object of the upper: `name` within the directory `fd`, or `fd` itself when `name` is empty (any
// descriptor, O_PATH included). Borrows both.
struct ObjectRef {
  int fd = -1;
  std::string_view name;
};

// The lower object that an upper object was copied up from. It decides st_ino and joins hard links again.
struct Origin {
  LayerSlot slot;
  std::uint64_t inode_number = 0;  // Layer::inode_number
  friend bool operator==(const Origin&, const Origin&) = default;
};

// Where a partly copied file finds the blocks that it does not hold itself.
struct Base {
  LayerSlot slot;
  // In that layer, "/a/b"; empty where the layer finds it by its number (Layer::find_by_number).
  std::string path;
  std::uint64_t inode_number =
      0;  // Layer::inode_number of it; with a path, to check that this still leads there
  std::uint64_t size_bytes = 0;
};

// What is written on an upper object beside its attributes.
struct Marks {
  std::optional<Origin> origin;  // of a partly copied file: its base
  std::optional<Base> base;      // regular file, partly copied
  std::uint64_t map_id = 0;      // names the block map of a partly copied file; stored within the base mark
  bool opaque = false;           // directory
  std::optional<std::string> redirect;  // directory: path in the lower layers that merges here
  // Names that the layers still add to (or, negative, hide from) the link count of the upper.
  std::int64_t nlink_delta = 0;
};

struct UpperEntry {
  enum class Kind : std::uint8_t { kAbsent, kWhiteout, kObject };
  Kind kind = Kind::kAbsent;
  // kObject; nlink is the count of names in the upper (the index's own link left out), + marks.nlink_delta =
  // the union's
  Attributes attributes;
  std::uint64_t inode_number = 0;  // real st_ino in the upper
  Marks marks;
};

using Xattrs = std::vector<std::pair<std::string, std::string>>;

// A new object born in the upper.
struct NewObject {
  std::uint32_t mode = 0;   // with type
  std::uint32_t umask = 0;  // applied unless the parent has a default ACL
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;  // a setgid parent overrides it and, for directories, hands down the bit
  std::uint64_t rdev = 0;
  std::string symlink_target;
  bool opaque = false;  // directory over a whiteout or a lower name
};

// A lower object to be represented in the upper, without its data.
struct CopyUp {
  Attributes attributes;
  Xattrs xattrs;  // all that the lower has, ACLs and capabilities included
  std::string symlink_target;
  Origin origin;
  // Regular file with data below: what `origin` names. Absent: it starts empty (O_TRUNC, or size 0).
  std::optional<Base> base;
  // Lower hard links: the object is entered in the index too, where the other names find it. The nlink mark
  // is set with it, before it is published, to attributes.nlink - 1: the other lower names
  // (UpperEntry::attributes leaves the index's own link out), so that count + delta stays the union's count.
  bool indexed = false;
  // Regular file with `base`: read wholly only when the base mark cannot be stored (its path or the object's
  // xattrs leave no room); without it such a copy-up fails with ENOSPC. Borrowed for the call.
  const layer::LowerFile* content = nullptr;
};

struct Rename {
  ObjectRef from;
  ObjectRef to;
  bool exchange = false;         // both exist in the upper
  bool whiteout_source = false;  // a lower name shows at `from` once the object is gone
  // `to` is a directory that is empty in the union (it may hold whiteouts): replaced.
  bool to_is_directory = false;
};

// Whether owners, modes and kinds of object that the upper's file system does not give are kept in an override xattr
// (override/overrides.h).
enum class OverrideUse : std::uint8_t {
  kNever,        // everything may be given: the mounting user is root of the host
  kWhereNeeded,  // what may be given is; for the rest there is an override
  kAlways,       // no owner is ever changed below; nothing but files and directories is made there
};

class UpperStore {
 public:
  struct Options {
    std::string upper_path;
    std::string work_path;
    // What the upper is based on, bottom first; recorded at first mount, compared later.
    std::vector<std::string> base_stack;
    bool volatile_upper = false;  // -o volatile: nothing of what is written is synced before close()
    bool thrown_away =
        false;  // -o fsync=never: volatile, and nothing is synced at the end either; no later mount takes it
    bool keep_access_times =
        false;  // -o noatime: reading a file moves no time of access, whatever the upper's mount says
    // More than what was recorded or, at the first mount, probed; empty: just that.
    std::optional<OverrideUse> overrides;
    // Of the running kernel (32 hexadecimal digits, dashes allowed); tests set it, empty: asks the kernel.
    std::string boot_id;
  };
  // Locks both directories, clears what an earlier mount left in work, loads the index.
  // Returns: a Failure that names the directory, the reason and the remedy: no such directory, not writable,
  // not on one file system, in use by PID, of another base stack. Nothing that it made is left behind then.
  // The holder's PID that others are told is the caller's: call it in the process that will serve.
  static ResultOrFailure<std::unique_ptr<UpperStore>> open(const Options& options);
  virtual ~UpperStore() = default;

  virtual int root_fd() const = 0;  // the upper directory

  // --- looking ---
  virtual Result<UpperEntry> look_up(ObjectRef object) const = 0;
  // The attributes alone, without reading the marks.
  virtual Result<Attributes> attributes(ObjectRef object) const = 0;
  // Names and kinds in one directory, without the marks (look_up tells those). `type` is DT_*; whiteouts are
  // told apart.
  struct ListedEntry {
    std::string name;
    std::uint8_t type = 0;
    bool whiteout = false;
    std::uint64_t inode_number = 0;
  };
  virtual Result<std::vector<ListedEntry>> list(ObjectRef directory) const = 0;
  virtual Result<UniqueFd> open_path(ObjectRef object) const = 0;       // O_PATH | O_NOFOLLOW
  virtual Result<UniqueFd> open_directory(ObjectRef object) const = 0;  // O_RDONLY | O_DIRECTORY | O_NOFOLLOW
  virtual Result<std::string> read_link(ObjectRef object) const = 0;
  // The upper object that lower hard link `origin` was copied up to; absent when it was not.
  virtual Result<std::optional<UniqueFd>> find_indexed(Origin origin) const = 0;

  // --- making ---
  // `over_whiteout`: the name holds a whiteout, which the new object replaces.
  virtual Result<UpperEntry> create(ObjectRef where, const NewObject& object, bool over_whiteout) = 0;
  // The same of a regular file that is to be open afterwards.
  struct Opened {
    UpperEntry entry;
    UniqueFd fd;  // for reading and writing; invalid where it has to be opened by its name
  };
  virtual Result<Opened> create_open(ObjectRef where, const NewObject& file, bool over_whiteout) = 0;
  // What look_up() would tell of it, but for the attributes.
  struct Copied {
    std::uint64_t inode_number = 0;  // real st_ino in the upper
    Marks marks;
  };
  // Leaves atime and mtime of the parent as they were.
  virtual Result<Copied> copy_up(ObjectRef where, const CopyUp& source) = 0;
  // An object without a name, which is gone with the last descriptor of it.
  struct Unnamed {
    UniqueFd fd;  // O_PATH
    UpperEntry entry;
  };
  // A regular file as create() makes it in `directory`, for open(2) with O_TMPFILE: link() may name it later.
  virtual Result<Unnamed> create_unnamed(ObjectRef directory, const NewObject& object) = 0;
  // Of a lower object that has lost its last name; it never gets one again. The data, if there is any, is copied whole:
  // `source.content` is required then.
  virtual Result<Unnamed> copy_up_unnamed(const CopyUp& source) = 0;
  // Gives `existing` (any ObjectRef, also one found by find_indexed) another name.
  virtual Status link(ObjectRef existing, ObjectRef where, bool over_whiteout) = 0;
  // Gives `existing`, which is indexed, a name that so far only a layer showed. The number of its names in the union stays what it
  // is at every moment: Marks::nlink_delta becomes one less with the link.
  virtual Status link_lower_name(ObjectRef existing, ObjectRef where) = 0;

  // --- removing and moving ---
  virtual Status whiteout(ObjectRef where) = 0;  // the name is absent in the upper
  virtual Status remove(ObjectRef file, bool leave_whiteout) = 0;
  // `holds`: what list() says of it now. Returns: ENOTEMPTY when that is more than whiteouts.
  virtual Status remove_directory(ObjectRef directory, const std::vector<ListedEntry>& holds,
                                  bool leave_whiteout) = 0;
  virtual Status rename(const Rename& request) = 0;

  // --- marks ---
  virtual Status set_opaque(ObjectRef directory) = 0;
  virtual Status set_redirect(ObjectRef directory, std::string_view lower_path) = 0;
  // The last name of an indexed object is gone: forget it in the index. Nothing happens when it is not there.
  virtual void drop_index(Origin origin) = 0;

  // --- attributes ---
  virtual Status change_mode(ObjectRef object, std::uint32_t permissions) = 0;
  // -1 leaves an id as it is. Clears suid, sgid and capabilities of regular files as chown(2) says.
  virtual Status change_owner(ObjectRef object, std::int64_t uid, std::int64_t gid) = 0;
  // Times with UTIME_NOW and UTIME_OMIT, atime then mtime, as utimensat(2).
  virtual Status change_times(ObjectRef object, const struct timespec (&times)[2]) = 0;

  // --- xattrs, as callers of the mount know them: our marks are hidden, look-alikes of users escaped ---
  virtual Result<std::vector<std::string>> xattr_names(ObjectRef object) const = 0;
  virtual Result<std::string> xattr(ObjectRef object, std::string_view name) const = 0;
  virtual Status set_xattr(ObjectRef object, std::string_view name, std::string_view value, int flags) = 0;
  virtual Status remove_xattr(ObjectRef object, std::string_view name) = 0;

  // --- whole store ---
  virtual Result<struct statvfs> statistics() const = 0;
  // Since it was opened.
  struct CopiedUp {
    std::uint64_t objects = 0;
    std::uint64_t blocks = 0;  // of 4 KiB, of partly copied files
  };
  virtual CopiedUp copied_up() const = 0;
  virtual Status sync() = 0;  // everything, as syncfs(2)
  // Tells who looks at the upper by which mount it is used; close() takes the note away.
  virtual Status note_mount(const MountNote& note) = 0;
  // Clean unmount: all maps durable, the clean mark written. The destructor alone leaves it as a kill would.
  // Requires: every CowFile of the store is closed or idle.
  virtual Status close() = 0;

  // What CowFile::open needs; of no use to others.
  virtual CowHost& cow_host() = 0;
};

}  // namespace varve::upper
