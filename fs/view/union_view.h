#pragma once

// UnionView: the union of one upper (or none) over a stack of layers, as the calls that a file system
// answers. Every method carries the name of the FUSE request that it serves, takes node numbers and gives
// values or an errno; it knows nothing of libfuse, so that tests drive it without a mount.
//
// Thread rule: every method may be called from any thread.
// Ownership: owns the stack and the upper store, the node table and the handles.
//
// LOCK ORDER (take downwards only; siblings are never held together unless said):
//
//   tree_                       shared: whatever uses a name or a path; exclusive: rename
//     DirectoryPart::entries    of the parent, then of the child directory (rmdir)
//       Node::mutex             child before its parent and further up
//         OpenData                swap of what an open file reads from
//         CowFile, UpperStore     their own, see there
//         NodeTable, DirectoryFds, HandleTable, RecentlyUsed, Settler     leaves
//
// No lock but OpenData's snapshot is taken on the way of a read or a write to an open file that is in the
// upper.

#include <fcntl.h>
#include <sys/statvfs.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/attributes.h"
#include "fs/base/mutex.h"
#include "fs/base/name.h"
#include "fs/base/result.h"
#include "fs/upper/upper_store.h"
#include "fs/view/backing.h"
#include "fs/view/directory_fds.h"
#include "fs/view/handle_table.h"
#include "fs/view/listing.h"
#include "fs/view/lower_stack.h"
#include "fs/view/node.h"
#include "fs/view/node_table.h"
#include "fs/view/recently_used.h"
#include "fs/view/settler.h"

namespace varve::view {

// Who asks.
struct Caller {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t umask = 0;
};

// A node and what stat(2) tells of it.
struct EntryReply {
  NodeId id;
  std::uint64_t inode_number = 0;
  Attributes attributes;
  // The attributes may change without a request: the kernel must not keep them.
  bool changes_unseen = false;
};

// What setattr changes; what is empty stays.
struct AttributeChange {
  std::optional<std::uint32_t> permissions;
  std::optional<std::uint32_t> uid, gid;
  std::optional<std::uint64_t> size_bytes;
  // UTIME_NOW and UTIME_OMIT as in utimensat(2).
  std::optional<struct timespec> atime, mtime;
};

struct RenameNames {
  NodeId from_parent;
  std::string_view from_name;
  NodeId to_parent;
  std::string_view to_name;
};

// What a rename has moved.
struct Renamed {
  NodeId moved;
  std::optional<NodeId> exchanged;  // the other one, of RENAME_EXCHANGE
};

// One entry of a directory listing. Stop when the visitor returns false.
struct DirectoryEntry {
  std::string_view name;
  std::uint64_t inode_number = 0;
  std::uint32_t type = 0;         // S_IFMT bits
  std::uint64_t next_cookie = 0;  // where a later readdir goes on
  bool in_upper = false;          // to tell its attributes takes a look at the upper
  std::size_t position = 0;       // how many come before it, but for "." and ".."
};

class UnionView {
 public:
  // `store` may be null: a read-only view. `directory_fd_capacity`: upper directories kept open.
  static Result<std::unique_ptr<UnionView>> make(std::unique_ptr<LowerStack> stack,
                                                 std::unique_ptr<upper::UpperStore> store,
                                                 std::size_t directory_fd_capacity);
  ~UnionView();
  static constexpr NodeId kRoot{1};

  bool read_only() const { return store_ == nullptr; }

  // Files that lie wholly in the upper are offered to `backings` when they are opened first. To be called before that.
  void use_backings(std::shared_ptr<Backings> backings) { backings_ = std::move(backings); }

  // --- names ---
  // Returns: ENOENT when there is no such name. Every EntryReply counts one reference of the kernel, taken
  // back by forget.
  Result<EntryReply> lookup(NodeId parent, std::string_view name);
  void forget(NodeId id, std::uint64_t count);
  Result<EntryReply> mknod(NodeId parent, std::string_view name, std::uint32_t mode, std::uint64_t rdev,
                           Caller caller);
  Result<EntryReply> mkdir(NodeId parent, std::string_view name, std::uint32_t mode, Caller caller);
  Result<EntryReply> symlink(NodeId parent, std::string_view name, std::string_view target, Caller caller);
  Result<EntryReply> link(NodeId id, NodeId parent, std::string_view name);
  Status unlink(NodeId parent, std::string_view name);
  Status rmdir(NodeId parent, std::string_view name);
  // `flags` of renameat2(2). A whiteout (a character device 0:0) that RENAME_WHITEOUT leaves belongs to `caller`; after a kill
  // or an error in between it may be missing. Returns: EINVAL for flags that are unknown or do not go together.
  Result<Renamed> rename(const RenameNames& names, unsigned flags, Caller caller = {});

  // --- attributes ---
  Result<EntryReply> getattr(NodeId id);  // does not count a reference
  Result<EntryReply> setattr(NodeId id, const AttributeChange& change);
  // Before a write or truncation by somebody without CAP_FSETID: takes the set-id bits that it clears (setattr_should_drop_suidgid
  // in the kernel's fs/attr.c). Returns: whether there were any.
  Result<bool> drop_set_id(NodeId id);
  Result<bool> drop_set_id(HandleId handle);
  Result<std::string> readlink(NodeId id);
  Result<std::vector<std::string>> listxattr(NodeId id);
  Result<std::string> getxattr(NodeId id, std::string_view name);
  Status setxattr(NodeId id, std::string_view name, std::string_view value, int flags);
  Status removexattr(NodeId id, std::string_view name);

  // --- files ---
  struct Created {
    EntryReply entry;
    HandleId handle;
  };
  // A regular file without a name, as O_TMPFILE makes it; link() may give it one.
  Result<Created> create_unnamed(NodeId directory, std::uint32_t mode, Caller caller, int flags = O_RDWR);
  // `flags` of open(2).
  Result<Created> create(NodeId parent, std::string_view name, std::uint32_t mode, Caller caller,
                         int flags = O_RDWR);
  // `flags` of open(2); O_TRUNC is honoured. Never copies data.
  Result<HandleId> open(NodeId id, int flags);
  // What the kernel is to be told of an open file. All handles of a file that are open at a time have the same backing.
  struct OpenMode {
    std::optional<std::int32_t> backing;  // it reads and writes this itself; empty: it asks
    bool keeps_cache = true;              // what it has cached of the file is good
    bool maps = false;                    // it may store into a mapping: of the backing, unseen from here
  };
  OpenMode open_mode(HandleId handle) const;
  Result<std::size_t> read(HandleId handle, std::uint64_t offset_bytes, std::span<std::byte> out);
  // Returns: as CowFile::write_some.
  Result<std::size_t> write(HandleId handle, std::uint64_t offset_bytes, std::span<const std::byte> data);
  Status fsync(HandleId handle, bool data_only);
  Status fallocate(HandleId handle, int mode, std::uint64_t offset_bytes, std::uint64_t size_bytes);
  Result<std::uint64_t> lseek(HandleId handle, std::uint64_t offset_bytes, int whence);
  struct CopyRange {
    HandleId from;
    std::uint64_t from_offset = 0;
    HandleId to;
    std::uint64_t to_offset = 0;
    std::uint64_t size_bytes = 0;
  };
  // Returns: bytes copied, fewer than asked at the end of the source.
  Result<std::uint64_t> copy_file_range(const CopyRange& range);
  void release(HandleId handle);
  // The file of the upper, when all bytes lie in it and may be read through its descriptor; else null.
  std::shared_ptr<const upper::CowFile> complete_file(HandleId handle);

  // --- directories, which need no handles ---
  using DirectoryVisitor = std::function<bool(const DirectoryEntry& entry)>;
  enum class Listed : std::uint8_t {
    kMore,  // there were entries
    kEnd,   // there were none any more
    kEndAndNotToBeKept,  // likewise, and the kernel must not keep what it was told: to be dropped before it hears of the end
  };
  // Visits the entries from `cookie` on (0: from the start, "." and ".." included, listed anew in a view with an upper). Who goes on
  // from the cookie of an entry that he got sees each entry that neither comes nor goes meanwhile exactly once. The inode numbers of
  // entries that are in the upper are 0 before position `numbers_from`: to find them out costs a look at each.
  Result<Listed> readdir(NodeId id, std::uint64_t cookie, const DirectoryVisitor& visit,
                         std::size_t numbers_from = 0);
  Status fsyncdir(NodeId id);

  // --- by node, without open ---
  // A read-only view never changes, so it needs no handles: what was opened for a node is kept for a while, bounded, and opened
  // again when it is asked for later. Requires: read_only().
  // Returns: the open file; EISDIR, EINVAL for a node that is no regular file.
  Result<std::shared_ptr<const layer::LowerFile>> lower_file(NodeId id);
  Result<std::uint64_t> lseek_node(NodeId id, std::uint64_t offset_bytes, int whence);

  // --- whole ---
  Result<struct statvfs> statfs();
  // How it is now. Counts of one moment, but not of the same one.
  struct Statistics {
    std::vector<std::string> layers;  // top first, as they were named
    std::size_t nodes = 0;            // that the kernel knows
    std::size_t open_files = 0;
    upper::UpperStore::CopiedUp copied_up;
  };
  Statistics statistics() const;
  Status sync();
  // Requires: !read_only().
  Status note_mount(const upper::MountNote& note);
  // Before the process ends: everything durable, the upper marked clean.
  Status close();
  std::size_t node_count() const { return table_.size(); }

 private:
  // Where an upper object is reached: an ObjectRef and what keeps it valid.
  struct Place {
    std::shared_ptr<const UniqueFd> directory;
    std::string name;
    upper::ObjectRef ref() const { return upper::ObjectRef{directory->get(), name}; }
  };
  // A name that was looked at under its parent's `entries`.
  struct Found {
    upper::UpperEntry upper;           // kAbsent when the parent is not in the upper
    std::optional<LowerObject> lower;  // what the layers hold under the name, even behind the upper's
    bool exists() const {
      return upper.kind == upper::UpperEntry::Kind::kObject ||
             (upper.kind == upper::UpperEntry::Kind::kAbsent && lower.has_value());
    }
    bool over_whiteout() const { return upper.kind == upper::UpperEntry::Kind::kWhiteout; }
  };

  UnionView(std::unique_ptr<LowerStack> stack, std::unique_ptr<upper::UpperStore> store,
            std::size_t directory_fd_capacity);
  Status make_root();

  // node_access.cc: nodes and the upper objects behind them
  Result<NodePtr> node(NodeId id) const;
  Result<NodePtr> directory_node(NodeId id) const;
  Result<std::shared_ptr<const UniqueFd>> directory_fd(Node& directory);
  Result<Place> place_locked(Node& node) REQUIRES(node.mutex);
  Result<Place> place_of(Node& node);
  Result<Place> place_in(Node& parent, Name name);
  Result<Attributes> attributes_locked(Node& node) REQUIRES(node.mutex);
  // After taking the set-id bits of what was written past us (set_id.cc).
  Result<Attributes> settled_attributes_locked(Node& node) REQUIRES(node.mutex);
  Result<Attributes> upper_attributes_locked(Node& node) REQUIRES(node.mutex);
  // Of the union, from those of the upper.
  Result<Attributes> union_attributes_locked(Node& node, Attributes stored) REQUIRES(node.mutex);
  // st_blocks. Requires: the node's marks name a base.
  Result<std::uint64_t> partly_copied_blocks_512_locked(Node& node, const Attributes& stored)
      REQUIRES(node.mutex);
  // As the upper has them: without what a layer adds to links and blocks, and so without waiting for one.
  Result<Attributes> stored_attributes_locked(Node& node) REQUIRES(node.mutex);
  Result<Attributes> lower_attributes_locked(Node& node) REQUIRES(node.mutex);
  // 2 and the visible subdirectories, which are counted once and again after subdirectories_changed().
  Result<std::uint32_t> merged_link_count_locked(Node& directory, const Place& upper) const
      REQUIRES(directory.mutex);
  Result<std::uint32_t> count_subdirectories(const Place& upper, const MergedDirectoryPtr& lower) const;
  // Those of `lower` whose names `hiding` does not have.
  Result<std::uint32_t> count_visible_directories(const std::vector<upper::UpperStore::ListedEntry>& hiding,
                                                  const MergedDirectoryPtr& lower) const;
  // To be called after a directory came into `directory` or left it.
  static void subdirectories_changed(Node& directory);
  // To be called before a name in it comes or goes, when nobody can list it until that is done.
  static void names_change(Node& directory) {
    directory.directory().names_version.fetch_add(1, std::memory_order_relaxed);
  }
  static EntryReply reply_locked(const Node& node, const Attributes& attributes) REQUIRES(node.mutex);
  // After SETATTR and LINK the kernel takes the answer for new whatever it has heard of meanwhile, and stores into a mapping are
  // written out whenever it likes (docs/decisions/0026).
  static EntryReply changed_reply_locked(const Node& node, const Attributes& attributes) REQUIRES(node.mutex);
  Result<EntryReply> reply_for(const NodePtr& node);
  // `reply_for` and one reference of the kernel.
  Result<EntryReply> referenced_reply(const NodePtr& node);
  // The same of a node that was looked up just now.
  Result<EntryReply> referenced_reply(const NodePtr& node, const Found& found);

  // lookup.cc
  Result<Found> find_name(Node& parent, Name name);
  Result<NodePtr> bind(const NodePtr& parent, Name name, const Found& found);
  Result<NodePtr> bind_upper(const NodePtr& parent, Name name, const Found& found);
  Result<NodePtr> bind_lower(const NodePtr& parent, Name name, const LowerObject& lower);
  Result<std::uint64_t> inode_number_of(const upper::UpperEntry& entry,
                                        const std::optional<LowerObject>& merged) const;
  Result<MergedDirectoryPtr> merged_below(const upper::UpperEntry& entry,
                                          const std::optional<LowerObject>& lower) const;
  static void add_alias(Node& node, const NodePtr& parent, Name name, bool in_upper);
  static void drop_alias_locked(Node& node, const Node& parent, std::string_view name) REQUIRES(node.mutex);

  // copy_up.cc
  enum class Content { kInherit, kEmpty };
  Status require_writable() const { return read_only() ? Status(Errno{EROFS}) : Status(); }
  // Requires: tree_ held, shared or exclusively. Copies up the directories above first; copies no data.
  Status copy_up(const NodePtr& node, Content content = Content::kInherit);
  Status copy_up_above(const NodePtr& node);
  struct CopyAs {
    Content content = Content::kInherit;
    std::optional<std::uint32_t> permissions;  // in place of its own, unless these hang on more
  };
  // Requires: a directory above it is in the upper.
  Status copy_up_one(Node& node, const CopyAs& as);
  Status copy_up_one_locked(Node& node, const CopyAs& as) REQUIRES(node.mutex);
  // The node is in the upper when its object is, also if its data could not be opened.
  Status publish_copy_up_locked(Node& node, Alias& alias, const Place& where, const CopyAs& as)
      REQUIRES(node.mutex);
  Status copy_up_unnamed_locked(Node& node, const CopyAs& as) REQUIRES(node.mutex);
  // The object at `where` is the node's from now on, also for those who have it open.
  Status adopt_upper_locked(Node& node, const Place& where, upper::UpperStore::Copied copied)
      REQUIRES(node.mutex);
  Result<upper::CopyUp> describe_copy_up_locked(Node& node, const CopyAs& as) REQUIRES(node.mutex);
  Result<std::unique_ptr<layer::LowerFile>> open_base(const upper::Base& base) const;
  // Gives a copied-up hard link the name in the upper that so far only a layer showed.
  Status name_in_upper(Node& node, const NodePtr& parent, Name name);
  Status name_in_upper_locked(Node& node, const NodePtr& parent, Name name) REQUIRES(node.mutex);

  // dir_ops.cc
  // What was made just now, as it is.
  struct Made {
    NodePtr node;
    Attributes attributes;
    UniqueFd fd;  // of a regular file, where it came with it
  };
  enum class Use { kName, kOpen };
  Result<Made> make_object(NodeId parent, std::string_view name, upper::NewObject object,
                           Use use = Use::kName);
  Result<Made> make_unnamed(NodeId directory, const upper::NewObject& object);
  EntryReply referenced_reply(const Made& made);
  using UpperListing = std::vector<upper::UpperStore::ListedEntry>;
  // `child_holds`: of require_empty, where the child is a directory.
  Status remove_name(const NodePtr& parent, Name name, bool leave_whiteout, const NodePtr& child,
                     const UpperListing& child_holds);
  // A file that somebody has open, or that has other names, lives on in the upper after one name is gone.
  // Requires: the name goes before `child.mutex` is released, or nobody can open it meanwhile.
  Status prepare_unlink_locked(Node& child) REQUIRES(child.mutex);
  Status pin_locked(Node& node) REQUIRES(node.mutex);
  // Before the last name goes: a partly copied file loses its block map with it, unless it is open.
  Status keep_data_locked(Node& node) REQUIRES(node.mutex);
  // A file of the upper with one name left in the union.
  Result<bool> has_one_name_locked(Node& node) REQUIRES(node.mutex);
  void after_last_name_locked(Node& node) REQUIRES(node.mutex);
  // Returns: what its directory in the upper holds, whiteouts alone; ENOTEMPTY.
  Result<UpperListing> require_empty(const NodePtr& directory);

  // rename.cc
  struct RenameSide {
    NodePtr parent;
    Name name;
    Found found;
    NodePtr node;  // null when the name does not exist
  };
  Result<RenameSide> rename_side(NodeId parent, std::string_view name);
  Status check_rename(const RenameSide& from, const RenameSide& to, unsigned flags);
  Status rename_in_tree(RenameSide& from, RenameSide& to, bool exchange);
  Status leave_whiteout(const RenameSide& from, Caller caller);
  Status raise_for_rename(RenameSide& side);
  Status mark_moved_directory(const RenameSide& moved, const RenameSide& destination);
  Result<std::string> lower_path(const NodePtr& directory);
  // The object that a rename wrote over: what unlink and rmdir do, but for the removal itself.
  void replace_target(const RenameSide& to, bool last_name);

  // file_io.cc
  // `created`: of Made, else invalid.
  Result<std::shared_ptr<OpenData>> acquire_data(const NodePtr& node, UniqueFd created = {});
  // What the file reads from now, opened if it is not.
  Result<OpenData::View> view_locked(Node& node) REQUIRES(node.mutex);
  Result<OpenData::View> open_view_locked(Node& node) REQUIRES(node.mutex);
  // The file may have become an ordinary one while it was open before: the marks on it are the truth.
  Status renew_base_locked(Node& node, const Place& place) REQUIRES(node.mutex);
  std::unique_ptr<const Backing> back_locked(Node& node, const OpenData::View& view) REQUIRES(node.mutex);
  void release_data(const NodePtr& node);
  // `file` was the node's: its marks name no base any more when it has become an ordinary one.
  static void forget_base_locked(Node& node, const upper::CowFile& file) REQUIRES(node.mutex);
  // In the settler's thread.
  void settle_file(Node& node);
  Result<Created> open_created(Made made, int flags);
  HandleId add_handle(const NodePtr& node, std::shared_ptr<OpenData> data, int flags);
  Result<std::shared_ptr<upper::CowFile>> writable_file(const NodePtr& node, OpenData& data);
  // Requires: `node` is in the upper; `data` is of it.
  Result<std::shared_ptr<upper::CowFile>> upper_file(const NodePtr& node, OpenData& data);
  // Requires: tree_ held.
  Status truncate(const NodePtr& node, std::uint64_t size_bytes);
  // As upper_file.
  Status truncate_open(const NodePtr& node, OpenData& data, std::uint64_t size_bytes);

  // attributes.cc
  static constexpr std::string_view kCapabilities = "security.capability";
  // Copies up what is not in the upper, with as much of the change as can be had with it. Requires: copy_up_above().
  // Returns: what is left of the change.
  Result<AttributeChange> copy_up_changed_locked(Node& target, const AttributeChange& change)
      REQUIRES(target.mutex);
  Status change_stored(const Place& place, const AttributeChange& change);

  // set_id.cc
  // Before O_TRUNC, which the kernel leaves to us whole. Requires: tree_ held; `file` is in the upper.
  Status drop_capabilities(Node& file);
  Result<bool> drop_set_id_of(const NodePtr& node);
  // To be called after attributes were changed. `now`: as the upper has them.
  static void watch_set_id_locked(Node& node, const Result<Attributes>& now) REQUIRES(node.mutex);
  // Takes the bits when the kernel has written to the backing since.
  void settle_set_id_locked(Node& node) REQUIRES(node.mutex);
  // Requires: such bits are watched.
  Status take_new_set_id_locked(Node& node) REQUIRES(node.mutex);

  // readdir.cc
  // Without cookies.
  Result<std::vector<Listing::Entry>> list_directory(const NodePtr& directory);
  // What a reader at `cookie` is to be told from.
  Result<std::shared_ptr<const Listing>> listing_at(const NodePtr& directory, std::uint64_t cookie);
  Listed told_the_end(Node& directory, const Listing& listing);
  // Returns: ENOENT when the name has been removed since it was listed.
  Result<std::uint64_t> listed_inode_number(Node& directory, const Listing::Entry& entry);
  // "." and "..", whose cookies are 1 and 2. Returns: false when the visitor wants no more.
  static bool visit_dots(Node& directory, std::uint64_t cookie, const DirectoryVisitor& visit);

  const std::unique_ptr<LowerStack> stack_;
  const std::unique_ptr<upper::UpperStore> store_;
  mutable SharedMutex tree_;
  DirectoryFds directory_fds_;
  HandleTable handles_;
  std::shared_ptr<Backings> backings_;  // null: there are none
  // Read-only views. A file may hold a descriptor (directories as layers).
  RecentlyUsed<layer::LowerFile> opened_{256, 1};
  // Of directories that nobody has read to the end yet. A listing weighs as many as it has entries.
  RecentlyUsed<Listing> listings_{262'144, 4};
  NodePtr root_;
  // So late, that nodes die while everything they refer to is alive.
  NodeTable table_;
  // Last: its thread uses all of the above.
  Settler settler_{[this](Node& node) { settle_file(node); }};
};

}  // namespace varve::view
