#pragma once

// UpperSource: the upper of a stopped mount as a TreeSource: what changed over its layers. Files of which only some blocks
// were copied up inherit the others from a parent of the new layer, or are stored whole, holes kept. Names that layers give
// to a file whose other names were copied up join them (lower_links.h).
// Thread rule: one thread. Ownership: owns the store, and with it the locks of upper and work directory; shares the layers;
// borrows the monitor.

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "fs/layer/layer.h"
#include "fs/upper/upper_store.h"
#include "imagetool/image/parent_files.h"
#include "imagetool/image/source/lower_links.h"
#include "imagetool/image/source/tree_source.h"

namespace varve::image {

// What an upper records of a layer that it lies over; the same as LowerStack::describe() of fs/view.
std::string base_line(const layer::Identity& identity);

class UpperSource : public TreeSource {
 public:
  struct Options {
    std::string upper_path;
    std::string work_path;
    std::vector<std::shared_ptr<layer::Layer>> layers;  // bottom first: what the upper was mounted over
    const ParentFiles* parents =
        nullptr;  // of the new layer, over the same layers; borrowed; null: nothing is inherited
  };
  // Returns: a Failure that names what is wrong: in use by PID, other layers than it was mounted over, no
  // work directory.
  static ResultOrFailure<std::unique_ptr<UpperSource>> open(Options options, Monitor& monitor);

  ResultOrFailure<Tree> scan() override;
  StatusOrFailure for_each_content(const Tree& tree, const ContentConsumer& take) override;
  // Leaves upper and work directory as a clean unmount does.
  StatusOrFailure close();

 private:
  struct Directory;
  UpperSource(Options options, std::unique_ptr<upper::UpperStore> store, Monitor& monitor);
  std::string shown(std::string_view path) const;
  Result<InodeSpec> read_spec(upper::ObjectRef object, const upper::UpperEntry& entry) const;
  StatusOrFailure scan_directory(Tree& tree, const Directory& directory);
  StatusOrFailure scan_name(Tree& tree, const Directory& in, const std::string& name);
  StatusOrFailure take_content(const ContentFile& file, std::uint64_t size_bytes,
                               const ContentConsumer& take);
  // A file of one of the layers.
  struct BaseFile {
    const layer::Layer* layer = nullptr;
    LowerId id;
    std::string path;  // in that layer
  };
  ResultOrFailure<BaseFile> find_base(const upper::Base& base, const std::string& path) const;
  // What the file inherits from in the new layer; empty when all of it is stored there.
  ResultOrFailure<std::optional<DeltaBase>> delta_base(const upper::UpperEntry& entry,
                                                       const std::string& path) const;
  ResultOrFailure<std::unique_ptr<layer::LowerFile>> open_base(const upper::Base& base,
                                                               const std::string& path) const;

  Options options_;
  std::unique_ptr<upper::UpperStore> store_;
  Monitor& monitor_;
  std::map<std::uint64_t, TreeIndex> hard_links_;  // by inode number in the upper
  std::set<TreeIndex> inheriting_;  // files with a base: of them only the blocks of the upper are given
  LowerLinks lower_links_;
  std::map<TreeIndex, std::string>
      paths_;  // in the upper, of the files in lower_links_: they get other names too
};

}  // namespace varve::image
