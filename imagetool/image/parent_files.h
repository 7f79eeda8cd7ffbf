#pragma once

// ParentFiles: the files of the layers that a new layer is built on, and which of them a new file probably came from.
// Thread rule: one thread. Ownership: shares the layers.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "fs/layer/layer_file.h"
#include "imagetool/image/layer_union.h"
#include "imagetool/image/source/tree.h"
#include "imagetool/image/store/digest.h"
#include "imagetool/image/writer/layer_writer.h"

namespace varve::image {

// A regular file of a parent.
struct ParentFile {
  std::uint16_t parent = 0;  // index in ParentFiles::records()
  LowerId id;
};

class ParentFiles {
 public:
  // `stack`: what the new layer will lie on, the topmost layer first. Directories in it hide and show what they do, but nothing
  // is inherited from them. `digests`: SHA-256 of the layer files of `stack`, in its order; empty: they are computed.
  // Returns: a Failure when a layer file cannot be read.
  static ResultOrFailure<std::unique_ptr<ParentFiles>> make(std::vector<std::shared_ptr<layer::Layer>> stack,
                                                            std::span<const Digest> digests);

  // As given to make().
  const std::vector<std::shared_ptr<layer::Layer>>& stack() const { return stack_.layers(); }
  // The same, as what the new layer's readers see below it.
  const LayerUnion& as_union() const { return stack_; }
  // Those of the stack that are layer files, in the order of records().
  const std::vector<std::shared_ptr<const layer::LayerFile>>& layers() const { return parents_; }
  // What the writer is to be told of the parents. Nearest first.
  const std::vector<ParentLayer>& records() const { return records_; }

  // Finds what the files of `tree` are called in the parents: by path, through the redirects of either. Call before at().
  StatusOrFailure match(const Tree& tree);
  // The file of the parents with the same path as `node`; empty when there is none or it has no content.
  std::optional<ParentFile> at(TreeIndex node) const;
  // Whether some file of the parents has this size.
  bool has_size(std::uint64_t size_bytes);
  // A file of the parents with this digest; its bytes are still to be compared.
  std::optional<ParentFile> with_digest(const format::Hash128& digest);
  // The file of `layer`, when that is one of the parents.
  std::optional<ParentFile> in_layer(const layer::Layer& layer, LowerId id) const;

  const layer::LayerFile& layer_of(const ParentFile& file) const { return *parents_[file.parent]; }
  // Returns: a Failure that names layer and file.
  ResultOrFailure<std::unique_ptr<layer::LowerFile>> open(const ParentFile& file) const;
  // What a delta file over `file` records, but for data_blocks. `path`: of that file in its layer, where it is known: to find
  // it out costs a table of the whole layer.
  DeltaBase base(const ParentFile& file, std::optional<std::string> path = std::nullopt) const;

 private:
  struct DigestHash {
    std::size_t operator()(const format::Hash128& digest) const noexcept;
  };

  explicit ParentFiles(std::vector<std::shared_ptr<layer::Layer>> stack) : stack_(std::move(stack)) {}
  void index_digests();

  LayerUnion stack_;
  std::vector<std::shared_ptr<const layer::LayerFile>> parents_;  // those of stack_ that are layer files
  std::vector<ParentLayer> records_;
  std::unordered_map<TreeIndex, ParentFile> matches_;
  bool is_indexed_ = false;
  std::unordered_map<format::Hash128, ParentFile, DigestHash> digests_;
  std::unordered_set<std::uint64_t> sizes_;
};

}  // namespace varve::image
