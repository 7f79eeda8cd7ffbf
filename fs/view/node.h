#pragma once

// Node: one file, directory or other object of the union, as the kernel knows it, from its first look-up
// until it is forgotten. It exists once however many names lead to it (NodeTable sees to that). Thread rule:
// fields say what guards them; the order of all locks stands in union_view.h. Ownership: shared by the table
// (while the kernel refers to it), open handles, and its children's aliases.
// A million files that the kernel knows are a million nodes: what few of them need lies apart.

#include <sys/stat.h>

#include <atomic>
#include <memory>
#include <optional>
#include <utility>

#include "fs/base/mutex.h"
#include "fs/base/strong_id.h"
#include "fs/base/unique_fd.h"
#include "fs/layer/layer.h"
#include "fs/upper/cow/cow_file.h"
#include "fs/upper/upper_store.h"
#include "fs/view/alias_list.h"
#include "fs/view/backing.h"
#include "fs/view/listing.h"
#include "fs/view/lower_stack.h"
#include "fs/view/node_ptr.h"

namespace varve::view {

class NodeTable;

// The data of an open regular file, shared by all its handles; follows the file when it is copied up. Whether the kernel reads
// and writes the file itself is settled when it is opened first and stays so until the last handle is closed.
class OpenData {
 public:
  struct View {
    std::shared_ptr<const layer::LowerFile> lower;  // while the file has not been copied up
    std::shared_ptr<upper::CowFile> upper;          // afterwards
  };
  OpenData(View view, std::unique_ptr<const Backing> backing)
      : view_(std::move(view)), backing_(std::move(backing)) {}
  // Null: reads and writes come here.
  const Backing* backing() const { return backing_.get(); }
  View view() const {
    const MutexLock lock(mutex_);
    return view_;
  }
  // Requires: called under the node's mutex. A read that is under way on the old view ends with the old
  // content, as any read beside a write may.
  void replace(View next) {
    const MutexLock lock(mutex_);
    view_ = std::move(next);
  }

  // A write need not look for set-id bits: the file has none that a write would clear.
  std::atomic<bool> lacks_set_id{false};
  // Handles that the kernel may map shared and store through: where there is a backing, unseen from here. Guarded by the node's mutex.
  unsigned mappers = 0;
  // The file was given set-id bits while it has a backing: its mtime then. A later one tells of a write, which clears them.
  // Guarded by the node's mutex.
  std::optional<Timestamp> set_id_since;

 private:
  mutable Mutex mutex_;
  View view_ GUARDED_BY(mutex_);
  // After the file that it names, so that it goes first.
  const std::unique_ptr<const Backing> backing_;
};

class Node {
 public:
  // What only directories have.
  struct DirectoryPart {
    // Held shared by look-ups, exclusively while a name in it is added or removed.
    SharedMutex entries;
    // What shows through from the layers; null when nothing does. Changes only with the tree lock held exclusively
    // (rename) or before the node is published.
    MergedDirectoryPtr lower;
    // Merged directories: how many visible subdirectories; empty when that has to be counted (again). Guarded by the node's
    // mutex.
    std::optional<std::uint32_t> subdirectories;
    // Another one whenever a name in it may have come or gone; under `entries`, or in rename.
    std::atomic<std::uint32_t> names_version{0};
    // Guarded by the node's mutex.
    KernelListing kernel_listing;
    bool removed = false;  // nothing can be made in it any more. Guarded by the node's mutex.
  };
  // What only objects in the upper have.
  struct UpperPart {
    upper::Marks marks;
    std::uint64_t inode = 0;                     // real st_ino there
    bool untouched = false;                      // partly copied, and known to have no block of its own
    bool lacks_capabilities = false;             // the xattr security.capability is known not to be there
    std::shared_ptr<const UniqueFd> pinned;      // O_PATH on the object when no alias leads to it
    std::weak_ptr<const UniqueFd> directory_fd;  // directories, owned by the fd cache
    // Kept though nobody has it open: of a partly copied file without a name, whose block map is nowhere else any more; of a
    // file that is being settled.
    std::shared_ptr<OpenData> kept_data;
  };

  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  NodeId id() const { return id_; }
  std::uint32_t type() const { return type_; }  // S_IFMT bits
  bool is_directory() const { return type_ == S_IFDIR; }
  bool is_regular() const { return type_ == S_IFREG; }
  std::uint64_t inode_number() const { return inode_number_; }  // st_ino

  // Requires: is_directory().
  DirectoryPart& directory() const { return *directory_; }
  // Made when it is asked for first: most nodes lie in a layer and never have one.
  UpperPart& upper() REQUIRES(mutex) {
    if (upper_ == nullptr) upper_ = std::make_unique<UpperPart>();
    return *upper_;
  }

  AliasList aliases GUARDED_BY(mutex);
  LowerRef lower GUARDED_BY(mutex);  // the topmost lower object, kept after a copy-up; slot 0: none
  std::shared_ptr<OpenData> data GUARDED_BY(mutex);  // regular files, while open
  // What the object is. Taken child before parent; never while a descendant's could still be needed.
  SmallMutex mutex;
  unsigned opens GUARDED_BY(mutex) = 0;
  // Goes from false to true once, under `mutex`; may be read without it.
  std::atomic<bool> in_upper{false};
  // The kernel has used a backing for it: pages that it kept from before that may be old.
  bool passed_through GUARDED_BY(mutex) = false;

 private:
  friend class NodePtr;
  friend class NodeTable;
  // With one share, which is to be adopted.
  Node(NodeId id, std::uint32_t type, std::uint64_t inode_number, NodeTable& table)
      : type_(static_cast<std::uint16_t>(type)),
        id_(id),
        inode_number_(inode_number),
        table_(table),
        directory_(type == S_IFDIR ? std::make_unique<DirectoryPart>() : nullptr) {}
  ~Node() = default;

  // Here, so that these, the mutex and what stands beside it make 16 bytes.
  const std::uint16_t type_;
  std::atomic<std::uint32_t> shares_{1};  // NodePtrs
  const NodeId id_;
  const std::uint64_t inode_number_;
  NodeTable& table_;
  // Guarded by the table's mutex.
  Node* next_by_id_ = nullptr;
  Node* next_by_inode_ = nullptr;
  std::uint64_t kernel_references_ = 0;
  const std::unique_ptr<DirectoryPart> directory_;
  std::unique_ptr<UpperPart> upper_ GUARDED_BY(mutex);
};

inline void NodePtr::hold(Node& node) {
  node.shares_.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace varve::view
