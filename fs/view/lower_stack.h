#pragma once

// LowerStack: the read-only union of a mount's layers, without the upper. Looks names up through whiteouts, opaque
// marks and redirects, so that the view above sees one tree.
// Thread rule: immutable but for the merged indexes, which are built once under their own lock; every method may be
// called from any thread.
// Ownership: shares the layers; MergedDirectory objects borrow the stack and must not outlive it.

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/mutex.h"
#include "fs/base/name.h"
#include "fs/base/result.h"
#include "fs/base/strong_id.h"
#include "fs/layer/layer.h"

namespace varve::view {

// One object of one layer.
struct LowerRef {
  LayerSlot slot;
  LowerId id;
  friend bool operator==(const LowerRef&, const LowerRef&) = default;
};

class MergedDirectory;
using MergedDirectoryPtr = std::shared_ptr<const MergedDirectory>;

// A name of the lower union.
struct LowerObject {
  LowerRef top;
  std::uint32_t type = 0;        // S_IFMT bits
  MergedDirectoryPtr directory;  // directories: where its children are found
};

class LowerStack {
 public:
  // `layers`: top first, as the mount option names them; may be empty.
  explicit LowerStack(std::vector<std::shared_ptr<layer::Layer>> layers);
  LowerStack(const LowerStack&) = delete;
  LowerStack& operator=(const LowerStack&) = delete;
  ~LowerStack();

  std::size_t layer_count() const { return layers_.size(); }
  // Requires: a slot of this stack.
  const layer::Layer& layer(LayerSlot slot) const;
  bool has_slot(LayerSlot slot) const { return slot.value() >= 1 && slot.value() <= layers_.size(); }
  // One line a layer, bottom first: what an upper records of its base.
  std::vector<std::string> describe() const;

  // Null when there is no layer.
  const MergedDirectoryPtr& root() const { return root_; }

  // Returns: empty when the name is absent or whited out. `directory` may be null (nothing below).
  Result<std::optional<LowerObject>> look_up(const MergedDirectoryPtr& directory, Name name) const;
  // The directory at `path` ("/a/b") of the lower union; null when there is none or it is no directory.
  Result<MergedDirectoryPtr> directory_at(std::string_view path) const;
  // The object at `path` within one layer alone; empty when there is none.
  Result<std::optional<LowerRef>> find_in_layer(LayerSlot slot, std::string_view path) const;

  // Each visible name once, in no particular order. Returns false from `visit` to stop.
  using Visitor = std::function<bool(std::string_view name, LowerRef top, std::uint32_t type)>;
  Status for_each(const MergedDirectoryPtr& directory, const Visitor& visit) const;
  // How many of the visible names are directories, where that can be told without a look at each name; else empty.
  Result<std::optional<std::uint32_t>> known_subdirectories(const MergedDirectoryPtr& directory) const;

  // st_ino of a lower object: slot << 40 | the layer's number, unique over all layers and the upper (slot 0).
  Result<std::uint64_t> inode_number(LowerRef object) const;
  static std::uint64_t make_inode_number(LayerSlot slot, std::uint64_t number) {
    return static_cast<std::uint64_t>(slot.value()) << 40 | number;
  }

 private:
  // Adds `id` of `slot` to `sources`, then what merges below it; `below` are the parent's remaining sources.
  Status collect_sources(LowerRef object, Name name, const std::vector<LowerRef>& parent_sources,
                         std::size_t next_source, std::vector<LowerRef>& sources) const;
  Result<std::optional<LowerObject>> look_up_in_sources(const std::vector<LowerRef>& sources,
                                                        std::size_t first, Name name) const;
  Result<std::optional<LowerObject>> make_object(LowerRef top, std::uint32_t type, Name name,
                                                 const std::vector<LowerRef>& parent_sources,
                                                 std::size_t next_source) const;
  // The sources of the directory at `path` in the layers under `limit`; empty when there is none.
  Result<std::vector<LowerRef>> sources_below(LayerSlot limit, std::string_view path) const;

  std::vector<std::shared_ptr<layer::Layer>> layers_;  // index = slot - 1
  MergedDirectoryPtr root_;
};

// One directory of the lower union: the directories of single layers that make it up, top first, and, once asked for
// and when there is more than one, an index of the visible names, so that look-ups do not depend on the number of layers.
class MergedDirectory {
 public:
  explicit MergedDirectory(std::vector<LowerRef> sources) : sources_(std::move(sources)) {}
  const std::vector<LowerRef>& sources() const { return sources_; }

 private:
  friend class LowerStack;
  struct IndexEntry {
    std::uint64_t hash = 0;
    std::uint32_t name_offset = 0;
    std::uint8_t name_size = 0;
    bool whiteout = false;  // only while the index is built
    std::uint32_t type = 0;
    std::uint32_t source = 0;  // index in sources_
    LowerId id;
  };
  struct Index {
    std::vector<IndexEntry> entries;  // by (hash, name)
    std::string names;
    std::string_view name_of(const IndexEntry& entry) const {
      return std::string_view(names).substr(entry.name_offset, entry.name_size);
    }
  };
  Result<const Index*> index(const LowerStack& stack) const;
  Result<std::unique_ptr<Index>> build_index(const LowerStack& stack) const;
  static const IndexEntry* find(const Index& index, std::string_view name);

  std::vector<LowerRef> sources_;
  mutable Mutex mutex_;
  mutable std::unique_ptr<Index> index_ GUARDED_BY(mutex_);
  mutable std::atomic<const Index*> ready_{nullptr};  // index_, once it is complete and frozen
};

}  // namespace varve::view
