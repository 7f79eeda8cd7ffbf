#pragma once

// Store: the UpperStore over two real directories. Its methods lie in one file per concern: store_open,
// store_look, store_create, store_unnamed, store_copy_up, store_move, store_attributes. For the source files of fs/upper
// only.

#include <atomic>
#include <memory>
#include <unordered_map>
#include <unordered_set>

#include "fs/base/mutex.h"
#include "fs/upper/cow/cow_host.h"
#include "fs/upper/cow/map_directory.h"
#include "fs/upper/hardlink_index.h"
#include "fs/upper/marks.h"
#include "fs/upper/stage.h"
#include "fs/upper/upper_store.h"
#include "fs/upper/whiteout.h"
#include "fs/upper/work_directory.h"

namespace varve::upper {

class Store final : public UpperStore, public CowHost {
 public:
  Store(WorkDirectory work, const Options& options);

  // Clears the stage, loads the index, and takes over the claims that a killed mount of this boot left.
  Status recover();

  // --- UpperStore ---
  int root_fd() const override { return work_.upper.get(); }
  Result<UpperEntry> look_up(ObjectRef object) const override;
  Result<Attributes> attributes(ObjectRef object) const override;
  Result<std::vector<ListedEntry>> list(ObjectRef directory) const override;
  Result<UniqueFd> open_path(ObjectRef object) const override;
  Result<UniqueFd> open_directory(ObjectRef object) const override;
  Result<std::string> read_link(ObjectRef object) const override;
  Result<std::optional<UniqueFd>> find_indexed(Origin origin) const override;
  Result<UpperEntry> create(ObjectRef where, const NewObject& object, bool over_whiteout) override;
  Result<Opened> create_open(ObjectRef where, const NewObject& file, bool over_whiteout) override;
  Result<Copied> copy_up(ObjectRef where, const CopyUp& source) override;
  Result<Unnamed> create_unnamed(ObjectRef directory, const NewObject& object) override;
  Result<Unnamed> copy_up_unnamed(const CopyUp& source) override;
  Status link(ObjectRef existing, ObjectRef where, bool over_whiteout) override;
  Status link_lower_name(ObjectRef existing, ObjectRef where) override;
  Status whiteout(ObjectRef where) override;
  Status remove(ObjectRef file, bool leave_whiteout) override;
  Status remove_directory(ObjectRef directory, const std::vector<ListedEntry>& holds,
                          bool leave_whiteout) override;
  Status rename(const Rename& request) override;
  Status set_opaque(ObjectRef directory) override;
  Status set_redirect(ObjectRef directory, std::string_view lower_path) override;
  void drop_index(Origin origin) override;
  Status change_mode(ObjectRef object, std::uint32_t permissions) override;
  Status change_owner(ObjectRef object, std::int64_t uid, std::int64_t gid) override;
  Status change_times(ObjectRef object, const struct timespec (&times)[2]) override;
  Result<std::vector<std::string>> xattr_names(ObjectRef object) const override;
  Result<std::string> xattr(ObjectRef object, std::string_view name) const override;
  Status set_xattr(ObjectRef object, std::string_view name, std::string_view value, int flags) override;
  Status remove_xattr(ObjectRef object, std::string_view name) override;
  Result<struct statvfs> statistics() const override;
  CopiedUp copied_up() const override { return {.objects = objects_copied_up_, .blocks = blocks_copied_up_}; }
  Status sync() override EXCLUDES(open_mutex_);
  Status note_mount(const MountNote& note) override;
  Status close() override EXCLUDES(open_mutex_);
  CowHost& cow_host() override { return *this; }

  // --- CowHost ---
  const BootId& boot_id() const override { return work_.boot_id; }
  bool is_volatile() const override { return work_.state.volatile_upper; }
  bool keeps_access_times() const override { return keep_access_times_; }
  Result<bool> has_map(std::uint64_t map_id) const override { return maps_.has(map_id); }
  Result<std::unique_ptr<block::BlockFile>> open_map(std::uint64_t map_id, int data_fd) override;
  Result<std::unique_ptr<block::BlockFile>> make_map(std::uint64_t map_id, int data_fd) override;
  Status sync_map_names() override { return maps_.sync_names(); }
  Status drop_base_mark(int data_fd, std::uint64_t map_id) override;
  Status delete_map(int data_fd, std::uint64_t map_id) override;
  void blocks_copied_up(std::uint64_t count) override { blocks_copied_up_ += count; }
  void cow_file_opened(CowFile& file, std::uint64_t map_id) override EXCLUDES(open_mutex_);
  void cow_file_closed(CowFile& file, std::uint64_t map_id, bool live_claims) override EXCLUDES(open_mutex_);

 private:
  const MarkStore& marks() const { return work_.marks; }

  const Overrides& overrides() const { return work_.overrides; }

  // --- store_look.cc ---
  Result<bool> is_whiteout(ObjectRef object, const struct stat& status) const;
  // What the union shows, link count included. Returns: EIO for a damaged override.
  Result<Attributes> shown_attributes(ObjectRef object, const struct stat& status) const;

  // --- store_create.cc ---
  // What a new object becomes in its parent. Permissions are those of the new object unless the parent's default ACL
  // decides them.
  struct Birth {
    std::uint32_t permissions = 0;
    std::uint32_t gid = 0;
    std::optional<std::string> default_acl;
  };
  Result<Birth> plan_birth(ObjectRef where, const NewObject& object) const;
  bool can_create_in_place(const Birth& birth, const NewObject& object) const;
  Result<UpperEntry> create_in_place(ObjectRef where, const Birth& birth, const NewObject& object);
  Result<Opened> create_file_in_place(ObjectRef where, const Birth& birth) const;
  Result<UpperEntry> create_staged(ObjectRef where, const Birth& birth, const NewObject& object,
                                   bool over_whiteout);
  // Owner and permissions of what was just made with those that a default ACL, if there is one, has left it.
  Status settle_birth(ObjectRef made, const Birth& birth, const NewObject& object);
  Result<UpperEntry> publish_new(Draft& draft, ObjectRef where, bool is_directory, bool over_whiteout) const;
  // Returns: EEXIST unless `where` holds a whiteout.
  Status require_whiteout(ObjectRef where) const;

  // --- override/store_override.cc; what is called there requires: overrides().enabled() ---
  // An object as the union is to show it.
  struct Shown {
    std::uint32_t mode = 0;  // with type
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    std::uint64_t rdev = 0;
    std::string symlink_target;
  };
  // It is stored as a regular file, whatever the owner.
  bool stands_in(const Shown& shown, bool needs_marks) const;
  Status make_stand_in(ObjectRef draft, const Shown& shown);
  // Makes what will be shown as `shown` after settle_shown, open to the daemon until then.
  Status make_shown(ObjectRef draft, const Shown& shown, bool needs_marks);
  Status settle_shown(ObjectRef draft, const Shown& shown);
  // Gives the object itself this owner. Returns: false where that is not allowed.
  Result<bool> try_owner(ObjectRef object, const struct stat& status, std::uint32_t uid,
                         std::uint32_t gid) const;
  Result<UpperEntry> create_overridden(ObjectRef where, const Birth& birth, const NewObject& object,
                                       bool over_whiteout);
  // What a new object will be shown as, and the access control list that it inherits.
  struct ShownBirth {
    Shown shown;
    std::optional<std::string> access_acl;
  };
  Result<ShownBirth> plan_shown(const Birth& birth, const NewObject& object) const;
  // The last steps of making it: marks, then owner and permissions.
  Status settle_shown_birth(ObjectRef made, const ShownBirth& birth);
  // DT_*; 0 when the name is gone.
  Result<std::uint8_t> listed_type(ObjectRef object) const;
  Result<std::string> read_stand_in(ObjectRef link) const;
  Status change_shown_mode(ObjectRef object, std::uint32_t permissions);
  Status change_shown_owner(ObjectRef object, std::int64_t uid, std::int64_t gid);
  // The mark that holds the access control list of this xattr; null when the xattr is stored as such. Any mode.
  const char* acl_mark(std::string_view xattr_name) const;
  Result<std::string> acl_of(ObjectRef object, std::string_view xattr_name) const;
  Status set_acl(ObjectRef object, std::string_view xattr_name, std::string_view value);
  Status remove_acl(ObjectRef object, std::string_view xattr_name);

  // --- store_copy_up.cc ---
  enum class DataMode : std::uint8_t { kShare, kCopy };
  Result<Copied> copy_up_as(ObjectRef where, const CopyUp& source, DataMode mode);
  Result<Copied> build_copy(ObjectRef draft, const CopyUp& source, DataMode mode);
  static Shown shown_of(const CopyUp& source);
  // The object with its data, but of its owner and mode only what could be given at once. Returns: how it stands.
  Result<struct stat> begin_copy(ObjectRef draft, const CopyUp& source, DataMode mode);
  Status fill_copy(UniqueFd file, const CopyUp& source, DataMode mode) const;
  Status copy_xattrs(ObjectRef draft, const CopyUp& source) const;
  Result<Marks> mark_copy(ObjectRef draft, const CopyUp& source, DataMode mode);
  Status publish_copy(Draft& draft, ObjectRef where, const CopyUp& source, std::uint64_t inode_number);
  // Names in the work directory count from now on: the upper cannot do without it.
  Status note_needs_work() EXCLUDES(needs_mutex_);

  // --- store_move.cc ---
  // The map that goes with the object once this name of it is gone; 0: none.
  Result<std::uint64_t> map_of_last_name(ObjectRef name) const;
  // What has lost its last name already: that stays so, and what cannot be removed is left with one log line.
  void remove_map(std::uint64_t map_id);
  void drop_entry(const Origin& origin);
  Status replace_by_whiteout(ObjectRef where, bool is_directory);
  Status move_away(ObjectRef directory);
  // Makes a directory of whiteouts one that is empty and opaque, which shows the same.
  Status empty_directory(ObjectRef directory);
  Status rename_over(const Rename& request);

  // --- store_open.cc ---
  Status sync_open_files() EXCLUDES(open_mutex_);
  Status promote_closed_files() EXCLUDES(open_mutex_);

  WorkDirectory work_;
  const bool keep_access_times_;
  const bool thrown_away_;
  Stage stage_;
  SharedWhiteout whiteout_;
  MapDirectory maps_;
  HardlinkIndex index_;
  std::atomic<std::uint64_t> objects_copied_up_{0};
  std::atomic<std::uint64_t> blocks_copied_up_{0};

  Mutex needs_mutex_;
  bool needs_work_noted_ GUARDED_BY(needs_mutex_) = false;

  // Before any cow file's own lock.
  Mutex open_mutex_;
  std::unordered_map<CowFile*, std::uint64_t> open_files_
      GUARDED_BY(open_mutex_);  // to the map id; 0: complete
  // Maps of files that were closed with claims which are not durable yet.
  std::unordered_set<std::uint64_t> live_maps_ GUARDED_BY(open_mutex_);
};

// Makes an object by `where` with exactly `mode`, as far as the umask allows it.
struct NodeKind {
  std::uint32_t mode = 0;  // with type
  std::uint64_t rdev = 0;
  std::string symlink_target;
};
Status make_node(ObjectRef where, const NodeKind& kind);
// A regular file in the same way, open for writing.
Result<UniqueFd> make_file(ObjectRef where, std::uint32_t permissions);
// The owner of the stored object itself; -1 leaves an id as it is. Returns: the errno of fchownat(2).
Status change_own_owner(ObjectRef object, std::int64_t uid, std::int64_t gid);

}  // namespace varve::upper
