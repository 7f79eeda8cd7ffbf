#pragma once

// TarScan: the first pass over a tar archive: its members, in the order in which they come, become a Tree. The archive is not
// trusted (tar_source.h). Thread rule: one thread. Ownership: borrows filter and monitor.
//
// Hard links may come before what they lead to: such a name stands for a node of its own until the last member is read, and
// is then given to the file that its target has become, through other links if need be. The target may be excluded: the file is
// then what other names of it lead to.
//
// An archive that is a layer leaves two things to the layers below it: the attributes of directories that no member names, the root
// among them, and the file that a hard link leads to when it is not in the archive; it is then copied up (tar_scan_below.cc).
//
// Directories that no member names cost their archive two bytes each and memory some hundred times that, so they are rationed:
// 65,536, and 16 more for each member, be they named later or not. Archives without any directories, as some programs make
// them, need fewer than one for each file; and each member is at least 512 bytes of archive.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "imagetool/image/layer_union.h"
#include "imagetool/image/source/tree.h"
#include "imagetool/image/source/tree_source.h"

struct archive_entry;

namespace varve::image {

class TarScan {
 public:
  // As deep as directories are read and written elsewhere.
  static constexpr std::size_t kMaxDepth = 2000;
  static constexpr std::uint64_t kImpliedDirectories = 65536;
  static constexpr std::uint64_t kImpliedDirectoriesPerMember = 16;

  // `name`: how messages call the archive. `below`: what it lies on; may be null.
  TarScan(std::string name, const PathFilter& filter, const LayerUnion* below, Monitor& monitor);

  // `key`: the member's number in the archive, from 1; contents are found by it.
  // Returns: a Failure that names the member.
  StatusOrFailure add(archive_entry* entry, std::uint64_t key);
  // After the last member. Returns: a Failure that names a hard link that leads nowhere.
  StatusOrFailure finish();
  // Files of the layers below that are in the tree now, with their contents still there. Complete after finish().
  const std::unordered_map<TreeIndex, UnionRef>& copied_up() const { return copied_up_; }
  // Requires: finish() was good.
  Tree take() && { return std::move(tree_); }

 private:
  using Components = std::vector<std::string_view>;
  struct Place {
    TreeIndex directory = kTreeRoot;
    std::string name;  // empty: the root itself
    bool excluded = false;
    bool leftover = false;  // beneath bookkeeping of AUFS
  };
  // A hard link whose target was not there when it came.
  struct WaitingLink {
    std::string path;
    std::string target;
  };

  Failure refuse(std::string_view path, const std::string& why) const;
  void warn(std::string_view path, const std::string& what);
  ResultOrFailure<Components> components_of(std::string_view path, std::string_view member);
  ResultOrFailure<Place> find_place(std::string_view path);
  // Looks at the names from `first` on, which are not in the tree, and whose directories above are.
  StatusOrFailure check_new_names(const Components& components, std::size_t first, std::string_view path,
                                  Place& place) const;
  StatusOrFailure make_implied(std::string_view name, std::string_view path, Place& place);
  // In the tree, or excluded. kWhiteoutNode when there is nothing of this path.
  TreeIndex find_target(const Components& components) const;
  StatusOrFailure add_hard_link(const Place& place, archive_entry* entry, std::string_view path);
  ResultOrFailure<TreeIndex> resolve(TreeIndex link, std::unordered_map<TreeIndex, TreeIndex>& resolved);
  // The object below that `components` leads to, as far as the archive lets it show: no directory.
  ResultOrFailure<std::optional<UnionRef>> find_below(const Components& components) const;
  // Gives the object below a node and its name in the tree. Returns: the node; kWhiteoutNode when there is none.
  ResultOrFailure<TreeIndex> copy_up(const Components& components, std::string_view link);
  StatusOrFailure settle_links();
  StatusOrFailure inherit_directories();
  void keep_excluded(archive_entry* entry, std::string_view path, std::uint64_t key);
  ResultOrFailure<bool> add_aufs_mark(const Place& place, archive_entry* entry, std::string_view path);
  ResultOrFailure<InodeSpec> read_spec(archive_entry* entry, std::string_view path);
  StatusOrFailure add_object(const Place& place, std::string_view path, InodeSpec spec, std::uint64_t key);
  void set_directory(TreeIndex directory, InodeSpec spec);

  const std::string name_;
  const PathFilter& filter_;
  const LayerUnion* const below_;
  Monitor& monitor_;
  Tree tree_;
  std::unordered_set<TreeIndex> implied_ = {kTreeRoot};  // directories that no member names so far
  std::unordered_map<TreeIndex, UnionRef> copied_up_;
  std::unordered_map<TreeIndex, WaitingLink> waiting_links_;  // by the node that stands for them
  // Files that are excluded, by path: names that are not may be hard links to them.
  std::unordered_map<std::string, TreeIndex> excluded_;
  // Paths of whiteouts of overlayfs, excluded ones among them: a link to one is one.
  std::unordered_set<std::string> whiteouts_;
  std::uint64_t implied_count_ = 0;
  std::uint64_t member_count_ = 0;
  bool warned_of_slash_ = false;
};

}  // namespace varve::image
