#pragma once

// LayerSource: layer files as a TreeSource. Several become one layer that says the same as they do together (squash); one is
// packed anew, or put on other parents (rebase). Whiteouts, opaque marks and redirects stay where they can still say
// something to layers below; those among the layers themselves are carried out. Files with several names stay one file.
//
// A delta file keeps its base when that is a file of the new layer's parents: only its own blocks are read. Any other one is
// read whole.
// Thread rule: one thread. Ownership: shares the layers; borrows parents and monitor.

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fs/layer/layer_file.h"
#include "imagetool/image/layer_union.h"
#include "imagetool/image/parent_files.h"
#include "imagetool/image/source/tree_source.h"

namespace varve::image {

class LayerSource : public TreeSource {
 public:
  struct Options {
    std::vector<std::string> layers;  // layer files, the topmost first
    // Layers that those inherit from, the nearest first, on which the new layer will not lie.
    std::vector<std::string> bases;
    const ParentFiles* parents = nullptr;  // of the new layer; null: it has none
    bool keep_deltas = true;               // files may go on inheriting from `parents`
    bool flatten = false;  // nothing lies below the new layer: whiteouts and marks say nothing
    PathFilter filter;
  };
  // Returns: a Failure as open_layer does.
  static ResultOrFailure<std::unique_ptr<LayerSource>> open(Options options, Monitor& monitor);

  // Returns: also ENOENT for a file that continues in a layer that is not given, with a message that says which; with `flatten`
  // also for a directory that continues another one that no layer has.
  ResultOrFailure<Tree> scan() override;
  StatusOrFailure for_each_content(const Tree& tree, const ContentConsumer& take) override;

 private:
  struct Directory {
    UnionDirectory merged;
    TreeIndex node = kTreeRoot;
    std::string path;
  };
  struct File {
    const layer::LayerFile* layer = nullptr;
    LowerId id;
    std::optional<ParentFile> base;  // what it goes on inheriting from
  };

  // A file beside its base.
  struct LowerPieces {
    std::uint64_t size_bytes = 0;
    std::vector<layer::Range> changed;  // what it does not inherit
    std::uint64_t data_blocks = 0;
  };

  LayerSource(LayerUnion layers, Options options, Monitor& monitor)
      : layers_(std::move(layers)), options_(std::move(options)), monitor_(monitor) {}
  const layer::LayerFile& file_layer(const UnionRef& object) const;
  // The marks of a directory of the new layer by what of the layers below shows there; `unmarked` is what would show without.
  void mark_directory(InodeSpec& spec, const std::optional<std::string>& below,
                      const std::optional<std::string>& unmarked) const;
  // What is flattened must not lose what a redirect finds in layers that are not given. Returns: ENOENT if it would.
  StatusOrFailure check_whole(const UnionDirectory& merged, const std::string& path) const;
  StatusOrFailure scan_directory(Tree& tree, const Directory& directory, std::vector<Directory>& pending);
  ResultOrFailure<TreeIndex> scan_file(Tree& tree, const UnionRef& object, const std::string& path);
  ResultOrFailure<std::optional<ParentFile>> kept_base(const layer::LayerFile& layer, LowerId id,
                                                       const std::string& path) const;
  ResultOrFailure<LowerPieces> pieces_over(const layer::LayerFile& layer, LowerId id, const ParentFile& base,
                                           const std::string& shown) const;
  StatusOrFailure take_content(const ContentFile& file, const File& from, const ContentConsumer& take) const;

  const LayerUnion layers_;
  const Options options_;
  Monitor& monitor_;
  std::vector<File> files_;     // source_key - 1
  bool has_redirects_ = false;  // some layer has: a directory may be seen at two places
  // (index of the layer, inode) of files that may have several names -> node
  std::map<std::pair<std::size_t, std::uint64_t>, TreeIndex> hard_links_;
};

// Whether `path` begins as a layer file does.
bool is_layer_file(const std::string& path);

}  // namespace varve::image
