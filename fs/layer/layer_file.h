#pragma once

// LayerFile: an open layer file (docs/layer-format.md). Its metadata is verified, validated and held in memory when open()
// returns; its data is read, verified and decoded frame by frame through the shared BlockCache.
// Thread rule and ownership: layer.h. The file must not be written to while it is open; if it is, the checksums tell.

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "fs/base/mutex.h"
#include "fs/base/result.h"
#include "fs/base/unique_fd.h"
#include "fs/format/hash.h"
#include "fs/format/layer_decode.h"
#include "fs/layer/frame_reader.h"
#include "fs/layer/layer.h"
#include "fs/layer/metadata_bytes.h"
#include "fs/layer/open_layer.h"

namespace varve::layer {

class LayerFile final : public Layer {
 public:
  // Returns: a Failure as open_layer does.
  static ResultOrFailure<std::unique_ptr<LayerFile>> open(const std::string& path,
                                                          const LayerContext& context,
                                                          const LayersBelow& below = {});

  const Identity& identity() const override { return identity_; }
  const std::string& name() const override { return name_; }
  LowerId root() const override { return LowerId{format::kRootInode}; }
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

  // For imagetool: inspect and verify.
  const format::LayerTables& tables() const { return tables_; }
  const format::LayerFooter& footer() const { return footer_; }
  // XXH3-128 of the content of a regular file; empty when the layer does not say. Requires: an id of this layer.
  std::optional<format::Hash128> content_digest(LowerId file) const;
  // Reads and decodes one frame, past the cache. Returns: the damage, empty when there is none.
  std::optional<FrameDamage> check_frame(std::uint64_t frame) const;

  // The layer of PARENT record `index`; null when it did not lie below this one when this was opened.
  // Requires: 1 <= index < tables().parents.size().
  const LayerFile* parent(std::uint16_t index) const { return parents_[index].get(); }
  // Whether the content of `file` can be had from the layers at hand. Requires: a regular file.
  bool has_all_parents(LowerId file) const;
  // What to say when parent(index) is null.
  std::string missing_parent(std::uint16_t index) const;

  // A position within the content of a frame, and the file that is being read, for messages.
  struct FramePlace {
    std::uint64_t frame = 0;
    std::uint64_t start_bytes = 0;
    LowerId file;
  };
  // Copies from there to the end of the frame or of `out`, whichever comes first. A frame that `out` takes whole is decoded into
  // it; others go through the cache. Requires: the frame has content there. Returns: bytes copied, at least one; EIO for
  // damage, which is logged once for each frame.
  Result<std::size_t> read_frame(const FramePlace& place, std::span<std::byte> out) const;

 private:
  LayerFile(UniqueFd fd, std::string path, std::shared_ptr<BlockCache> cache);

  // Reads, verifies and validates header, footer and metadata.
  StatusOrFailure load(std::uint64_t file_bytes);
  StatusOrFailure load_metadata(const format::Geometry& geometry);
  StatusOrFailure find_parents(const LayersBelow& below);

  // Null for an id that is not of this layer, which is a bug of the caller: it is answered with EIO.
  const format::Inode* inode(LowerId id) const { return tables_.inode(id.value()); }
  // The same, and a directory.
  Result<const format::Inode*> directory(LowerId id) const;
  Result<std::span<const format::Dirent>> entries(LowerId directory_id) const;
  void log_damage(std::uint64_t frame, LowerId file, const FrameDamage& damage) const;
  void build_reverse_index() const;

  UniqueFd fd_;
  std::string name_;
  Identity identity_;
  std::shared_ptr<BlockCache> cache_;
  std::uint64_t cache_id_;
  MetadataBytes metadata_;
  format::LayerFooter footer_{};
  format::LayerTables tables_;
  FrameReader frames_;
  std::vector<std::shared_ptr<const LayerFile>> parents_;  // by PARENT index

  mutable Mutex damage_mutex_;
  mutable std::unordered_set<std::uint64_t> damaged_frames_ GUARDED_BY(damage_mutex_);

  // For path_of: an entry that names the inode, and the directories in the order of their first entry. Built once, when
  // first asked for; immutable then.
  mutable std::once_flag reverse_once_;
  mutable std::vector<std::uint32_t> entry_of_inode_;
  mutable std::vector<std::uint32_t> directories_;
};

}  // namespace varve::layer
