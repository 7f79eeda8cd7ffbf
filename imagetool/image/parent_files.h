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
#include "imagetool/image/digest.h"
#include "imagetool/image/layer_writer.h"
#include "imagetool/image/source/tree.h"

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
  const std::vector<std::shared_ptr<layer::Layer>>& stack() const { return stack_; }
  // Those of the stack that are layer files, in the order of records().
  const std::vector<std::shared_ptr<const layer::LayerFile>>& layers() const { return parents_; }
  // What the writer is to be told of the parents. Nearest first.
  const std::vector<ParentLayer>& records() const { return records_; }

  // Finds what the files of `tree` are called in the parents. Call before at().
  Status match(const Tree& tree);
  // The file of the parents with the same path as `node`; empty when there is none or it has no content.
  std::optional<ParentFile> at(TreeIndex node) const;
  // Whether some file of the parents has this size.
  bool has_size(std::uint64_t size_bytes);
  // A file of the parents with this digest; its bytes are still to be compared.
  std::optional<ParentFile> with_digest(const format::Hash128& digest);
  // The file of `layer`, when that is one of the parents.
  std::optional<ParentFile> in_layer(const layer::Layer& layer, LowerId id) const;

  // Returns: a Failure that names layer and file.
  ResultOrFailure<std::unique_ptr<layer::LowerFile>> open(const ParentFile& file) const;
  // What a delta file over `file` records; data_blocks is the caller's to set.
  DeltaBase base(const ParentFile& file) const;
  // "LAYER: /path".
  std::string describe(const ParentFile& file) const;

 private:
  // A directory of one layer of the stack.
  struct Source {
    std::size_t layer = 0;  // index in stack_
    LowerId id;
  };
  using Sources = std::vector<Source>;
  struct DigestHash {
    std::size_t operator()(const format::Hash128& digest) const noexcept;
  };

  explicit ParentFiles(std::vector<std::shared_ptr<layer::Layer>> stack) : stack_(std::move(stack)) {}
  // What `name` in a directory that merges `sources` merges; a file that is no directory is returned in `file`.
  Result<Sources> enter(const Sources& sources, std::string_view name, std::optional<Source>& file) const;
  Result<Sources> enter_path(std::string_view path) const;
  Sources roots() const;
  void index_digests();

  std::vector<std::shared_ptr<layer::Layer>> stack_;
  std::vector<std::shared_ptr<const layer::LayerFile>> parents_;  // those of stack_ that are layer files
  std::vector<ParentLayer> records_;
  std::unordered_map<TreeIndex, ParentFile> matches_;
  bool is_indexed_ = false;
  std::unordered_map<format::Hash128, ParentFile, DigestHash> digests_;
  std::unordered_set<std::uint64_t> sizes_;
};

}  // namespace varve::image
