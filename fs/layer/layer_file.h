#pragma once

// LayerFile: an open layer file (docs/layer-format.md). A small one's metadata is verified, validated and held in memory when
// open() returns. That of a large one is read, verified and checked as it is touched, in pages that then stay; what is damaged
// is EIO for those who touch it, and one line in the log. Data is read, verified and decoded frame by frame through the
// shared BlockCache.
// Thread rule and ownership: layer.h. The file must not be written to while it is open; if it is, the checksums tell.

#include <atomic>
#include <cstdint>
#include <memory>
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
#include "fs/layer/metadata_pages.h"
#include "fs/layer/open_layer.h"
#include "fs/layer/seen_entries.h"

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
  Result<std::optional<std::uint32_t>> subdirectories(LowerId directory) const override;
  Result<Attributes> attributes(LowerId id) const override;
  Result<std::uint64_t> inode_number(LowerId id) const override;
  Result<LowerId> find_by_number(std::uint64_t number) const override;
  Result<std::string> path_of(LowerId id) const override;
  Result<std::string> read_link(LowerId id) const override;
  Result<std::vector<std::string>> xattr_names(LowerId id) const override;
  Result<std::string> xattr(LowerId id, std::string_view name) const override;
  Result<std::unique_ptr<LowerFile>> open_file(LowerId id) const override;

  // Brings in, verifies and validates all metadata that open() did not. For those who go over whole tables.
  // Returns: EUCLEAN when it is damaged or cannot be read.
  StatusOrFailure load_all() const;

  // The records as they are. Only after load_all() they may be touched other than through accessors, and are known to hold
  // together.
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

  // Records, checked. Returns: EIO for damage, which is told.
  Result<const format::Inode*> inode(LowerId id) const {
    const bool known = is_checked() && id.value() != 0 && id.value() < tables_.inodes.size();
    return known ? &tables_.inodes[id.value()] : touch_inode(id);
  }
  // Null when there is none.
  Result<const format::Origin*> origin(LowerId id) const;
  // The one of an inline extent too. Requires: a regular file.
  Result<std::vector<format::Extent>> extents(LowerId file) const;

  // A position within the content of a frame, and the file that is being read, for messages.
  struct FramePlace {
    std::uint64_t frame = 0;
    std::uint64_t start_bytes = 0;
    LowerId file;
  };
  // The size of a frame's content. Returns: EIO for a damaged record, which is told once for each frame.
  Result<std::size_t> frame_bytes(std::uint64_t frame, LowerId file) const;
  // Copies from there to the end of the frame or of `out`, whichever comes first. A frame that `out` takes whole is decoded into
  // it; others go through the cache. Requires: the frame has content there (frame_bytes). Returns: bytes copied, at least one;
  // EIO for damage, which is told once for each frame.
  Result<std::size_t> read_frame(const FramePlace& place, std::span<std::byte> out) const;
  // EIO for a frame that is good but does not hold what `file` takes from it (frame_holds), told once.
  Errno refuse_frame(std::uint64_t frame, LowerId file) const;

 private:
  LayerFile(UniqueFd fd, std::string path, std::shared_ptr<BlockCache> cache);

  // Reads, verifies and validates header, footer and metadata.
  StatusOrFailure load(std::uint64_t file_bytes, std::uint64_t lazy_from_bytes);
  StatusOrFailure load_metadata(const format::Geometry& geometry);
  // Prepares loading by pages. Returns: false when the file has no page hashes.
  ResultOrFailure<bool> load_lazily(const format::Geometry& geometry);
  StatusOrFailure check_start() const;
  StatusOrFailure find_parents(const LayersBelow& below);

  // All metadata was validated, so that no record needs to be checked.
  bool is_checked() const { return is_checked_.load(std::memory_order_acquire); }
  // What a check of a record said becomes EIO and a line in the log.
  Status accept(const format::FormatStatus& status) const;
  Errno missed(format::Miss miss) const;
  void log_fault(const std::string& message) const;

  Result<const format::Inode*> touch_inode(LowerId id) const;
  Result<const format::Inode*> directory(LowerId id) const;
  // All entries, noted (SeenEntries).
  Result<std::span<const format::Dirent>> entries(LowerId directory_id) const;
  // Null when there is none.
  Result<const format::Dirent*> entry(LowerId directory_id, std::string_view name) const;
  void note(LowerId directory_id, const format::Dirent& entry) const;
  Result<std::span<const format::Extent>> listed_extents(LowerId file, const format::Inode& record) const;
  Result<std::uint64_t> data_blocks_512(LowerId file, const format::Inode& record) const;
  Result<std::span<const format::XattrEntry>> xattrs(LowerId id) const;
  void log_damage(std::uint64_t frame, LowerId file, const FrameDamage& damage) const;
  Status see_all_entries() const;

  UniqueFd fd_;
  std::string name_;
  Identity identity_;
  std::shared_ptr<BlockCache> cache_;
  std::uint64_t cache_id_;
  MetadataBytes metadata_;                // when all was read by open()
  std::unique_ptr<MetadataPages> pages_;  // otherwise
  SeenEntries seen_;
  mutable std::atomic<bool> is_checked_{false};
  mutable Mutex load_mutex_;  // held by load_all(); before MetadataPages' own
  format::LayerFooter footer_{};
  format::LayerTables tables_;
  FrameReader frames_;
  std::vector<std::shared_ptr<const LayerFile>> parents_;  // by PARENT index

  mutable Mutex damage_mutex_;
  mutable std::unordered_set<std::uint64_t> damaged_frames_ GUARDED_BY(damage_mutex_);
  mutable std::unordered_set<std::string> told_faults_ GUARDED_BY(damage_mutex_);
};

}  // namespace varve::layer
