#pragma once

// LayerMetadata: the tables of a layer while it is being written: inodes, names, xattrs, extents. At the end
// it brings them into the order of the format, checks them as a reader would, and writes the sections. Thread
// rule: one thread. About 110 bytes an object: 64 of its inode, 16 of its digest, 16 and the name of its entry.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "fs/base/result.h"
#include "fs/format/layer_decode.h"
#include "fs/format/layer_layout.h"
#include "imagetool/image/writer/layer_content_reader.h"
#include "imagetool/image/writer/layer_output.h"
#include "imagetool/image/writer/layer_writer.h"

namespace varve::image {

class LayerMetadata {
 public:
  explicit LayerMetadata(const std::vector<ParentLayer>& parents);

  // As LayerWriter's methods of the same names.
  void expect_inodes(std::uint64_t count);
  void expect_names(std::uint64_t count, std::uint64_t bytes);
  ResultOrFailure<std::uint32_t> add_inode(const InodeSpec& spec);
  StatusOrFailure add_name(std::uint32_t directory, std::string_view name, std::uint32_t inode);
  StatusOrFailure add_whiteout(std::uint32_t directory, std::string_view name);

  // The size of a regular file. Returns: EINVAL for any other inode, and for one that has its content.
  ResultOrFailure<std::uint64_t> size_awaiting_content(std::uint32_t inode) const;
  // As LayerWriter::set_base.
  StatusOrFailure set_base(std::uint32_t inode, std::optional<DeltaBase> base);
  // Requires: `inode` is a regular file of this layer.
  bool has_base(std::uint32_t inode) const { return bases_.contains(inode); }
  // Empty: as its base said. Requires: has_base(inode).
  void set_data_blocks(std::uint32_t inode, std::optional<std::uint64_t> blocks) {
    if (blocks) bases_.at(inode).data_blocks = *blocks;
  }
  // Requires: size_awaiting_content() was good.
  void set_content(std::uint32_t inode, StoredContent content);

  struct Data {
    const LayerContentStore& store;
    std::vector<format::Frame> frames;
    std::uint64_t data_end = 0;
    std::uint32_t frame_bytes = 0;
    int level = 0;
  };
  // Sorts, counts links, validates. Call once; nothing is added afterwards.
  // Returns: EEXIST for a name given twice; EINVAL for an object without a name, or a directory outside of
  // the tree.
  StatusOrFailure complete(Data data);

  std::uint64_t content_bytes() const { return content_bytes_; }
  std::uint64_t inode_count() const { return inodes_.size() - 1; }
  // The first 4096 bytes, with the features known so far.
  StatusOrFailure write_header(LayerOutput& output, std::uint32_t frame_bytes) const;
  // Writes what follows DATA. Requires: complete() was good. Returns: the footer as written.
  ResultOrFailure<format::LayerFooter> write(LayerOutput& output) const;

 private:
  StatusOrFailure check_spec(const InodeSpec& spec) const;
  StatusOrFailure check_directory(std::uint32_t directory, std::string_view name) const;
  std::uint64_t add_text(std::string_view text);
  void add_entry(std::uint32_t directory, std::string_view name, format::Dirent entry);
  ResultOrFailure<std::uint32_t> intern_xattrs(const InodeSpec& spec);
  std::uint32_t add_redirect(const std::string& path);
  std::string_view name_of(const format::Dirent& entry) const;
  StatusOrFailure check_base(const DeltaBase& base) const;
  // The records of what `inode` inherits from. Requires: has_base(inode).
  void place_base(std::uint32_t inode, const StoredContent* content);

  StatusOrFailure sort_entries();
  static bool is_inline(const StoredContent& content, const format::Inode& inode);
  void place_extents(const LayerContentStore& store);
  format::LayerTables tables() const;
  std::string meta_json() const;

  std::vector<format::Inode> inodes_;
  std::vector<bool> has_content_;  // per inode
  std::vector<bool> is_named_;     // per inode
  // Until sort_entries() the hash of an entry is the inode number of its directory.
  std::vector<format::Dirent> dirents_;
  std::string names_;
  // Of files that are not one extent from end to end. Most are: their place is in the inode's payload meanwhile.
  std::unordered_map<std::uint32_t, StoredContent> contents_;
  std::unordered_map<std::uint32_t, DeltaBase> bases_;
  std::vector<format::Parent> parents_;
  std::vector<format::Digest> digests_;

  std::unordered_map<std::string, std::uint32_t> set_index_;            // serialised set -> index
  std::unordered_map<std::string, std::uint64_t> xattr_name_offsets_;   // in names_
  std::unordered_map<std::string, std::uint64_t> xattr_value_offsets_;  // in xattr_values_
  std::vector<format::XattrSet> xattr_sets_;
  std::vector<format::XattrEntry> xattr_entries_;
  std::string xattr_values_;
  std::vector<format::Origin> origins_;
  std::uint64_t content_bytes_ = 0;

  // From complete() on.
  std::vector<format::Extent> extents_;
  std::vector<format::Frame> frames_;
  std::uint64_t data_end_ = 0;
  std::uint32_t frame_bytes_ = 0;
  std::uint64_t incompat_ = 0;
  std::string meta_;
};

}  // namespace varve::image
