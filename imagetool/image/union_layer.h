#pragma once

// UnionLayer: layers of a stack as one Layer, so that what is made of a single layer (extract/) can be made of several.
// Thread rule: as layer.h. Ownership: shares the layers; objects keep their ids while it lives.
// It is for readers: it says nothing by which an upper could find it again.

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fs/base/mutex.h"
#include "fs/base/result.h"
#include "fs/layer/layer.h"
#include "imagetool/image/layer_union.h"
#include "imagetool/image/outside_names.h"

namespace varve::image {

class UnionLayer final : public layer::Layer {
 public:
  enum class Shows : std::uint8_t {
    kAll,      // what is to be seen when all are mounted: neither whiteouts nor marks
    kTopmost,  // what the topmost says of those below it, but for redirects: a directory that continues another one is opaque
    // here and holds all that is to be seen in it; and a file of it has its names elsewhere here, too (outside_names.h)
  };
  // `layers`: the topmost first, at least one. The name is the topmost's.
  // Returns: a Failure that names a layer when that cannot be read.
  static ResultOrFailure<std::unique_ptr<UnionLayer>> make(std::vector<std::shared_ptr<layer::Layer>> layers,
                                                           Shows shows);

  const layer::Identity& identity() const override { return layers_.layers().front()->identity(); }
  const std::string& name() const override { return layers_.layers().front()->name(); }
  LowerId root() const override { return kRoot; }
  Result<layer::Entry> look_up(LowerId directory, Name name) const override;
  Result<layer::DirectoryMark> directory_mark(LowerId directory) const override;
  Status for_each_entry(LowerId directory, const layer::EntryVisitor& visit) const override;
  Result<Attributes> attributes(LowerId id) const override;
  Result<std::uint64_t> inode_number(LowerId id) const override;
  // In that one of the layers which holds it.
  Result<std::string> path_of(LowerId id) const override;
  Result<std::string> read_link(LowerId id) const override;
  Result<std::vector<std::string>> xattr_names(LowerId id) const override;
  Result<std::string> xattr(LowerId id, std::string_view name) const override;
  Result<std::unique_ptr<layer::LowerFile>> open_file(LowerId id) const override;

 private:
  struct Directory {
    UnionDirectory merged;
    bool whole = false;   // shows what all layers have there, not the topmost's entries alone
    bool opaque = false;  // its mark
    const OutsideNames* outside = nullptr;  // what of layers below is to be seen in it, too
    bool bridge = false;                    // the topmost does not have it: it holds nothing but those
  };
  // The bit tells directories from others.
  static constexpr LowerId kRoot{std::uint64_t{1} << 63};

  UnionLayer(LayerUnion layers, Directory root, std::unique_ptr<const OutsideNames> outside)
      : layers_(std::move(layers)), outside_(std::move(outside)) {
    root.outside = outside_.get();
    directories_.push_back(std::move(root));
  }
  static bool is_directory(LowerId id) { return (id.value() & kRoot.value()) != 0; }
  // The object of a layer that says what `id` is.
  UnionRef object(LowerId id) const;
  const layer::Layer& layer_of(LowerId id) const { return layers_.layer(object(id)); }
  const Directory& directory(LowerId id) const;
  Result<LowerId> enter(LowerId parent_id, const Directory& parent, std::string_view name) const;
  Result<layer::Entry> entry(LowerId parent_id, const Directory& parent, std::string_view name,
                             const UnionEntry& found) const;

  // What of `parent` only OutsideNames hold.
  Result<layer::Entry> outside_entry(LowerId parent_id, const Directory& parent, std::string_view name) const;
  static layer::Entry file_entry(const UnionEntry& found);

  const LayerUnion layers_;
  const std::unique_ptr<const OutsideNames> outside_;  // null: none

  // Directories are found out as they are listed, and stay as they are then. Others are told by layer and id alone.
  mutable Mutex mutex_;
  mutable std::deque<Directory> directories_ GUARDED_BY(mutex_);
  mutable std::map<std::pair<std::uint64_t, std::string>, LowerId> entered_ GUARDED_BY(mutex_);
  mutable std::map<std::pair<std::size_t, std::uint64_t>, std::uint64_t> numbers_ GUARDED_BY(mutex_);
};

}  // namespace varve::image
