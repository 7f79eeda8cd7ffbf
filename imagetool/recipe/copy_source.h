#pragma once

// CopySource: what one COPY, ADD or WORKDIR adds to a stage, as a TreeSource: objects of other sources under the names that they get,
// in the directories that are there already, which keep what they are. Thread rule: one thread. Ownership: owns its sources; borrows
// the tree below, ignore patterns and the monitor.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "imagetool/image/layer_builder.h"
#include "imagetool/image/source/tree_source.h"
#include "imagetool/image/store/digest.h"
#include "imagetool/recipe/file_tree.h"

namespace varve::recipe {

// The object at `from` becomes `to`; of a directory all that is in it. Canonical paths (file_tree.h) of the source and of the stage.
struct CopyItem {
  std::string from;
  std::string to;
};

struct CopyPart {
  std::unique_ptr<image::TreeSource> source;
  std::vector<CopyItem> items;
  bool keep_owners = false;                 // else all becomes root's
  const IgnorePatterns* ignored = nullptr;  // of paths of the source
};

struct CopyTarget {
  LayeredTree* below = nullptr;          // what the stage shows so far
  std::vector<std::string> directories;  // made when they are not there: canonical paths
  std::optional<image::Owner> owner;     // of all that is copied or made
  std::optional<std::uint32_t> mode;     // permissions of all that is copied
  Timestamp now;                         // of directories that are made
};

class CopySource : public image::TreeSource {
 public:
  // Reads all but contents. Returns: EISDIR, ENOTDIR for what does not fit what is there, and what the sources say.
  static ResultOrFailure<std::unique_ptr<CopySource>> make(std::vector<CopyPart> parts, CopyTarget target,
                                                           image::Monitor& monitor);

  // Of names, attributes and contents, but not of times: equal digests give stages that look the same. Reads all contents.
  // Requires: before scan().
  ResultOrFailure<image::Digest> digest();
  // Whether it adds anything. Requires: before scan().
  bool empty() const { return added_ == 0; }

  ResultOrFailure<image::Tree> scan() override { return std::move(tree_); }
  StatusOrFailure for_each_content(const image::Tree& tree, const ContentConsumer& take) override;

 private:
  struct ScannedPart {
    std::unique_ptr<image::TreeSource> source;
    image::Tree tree;
    std::unordered_map<image::TreeIndex, std::vector<image::TreeIndex>> copies;  // of its regular files
  };

  CopySource(CopyTarget target, image::InodeSpec root, image::Monitor& monitor)
      : target_(std::move(target)), monitor_(monitor), tree_(std::move(root)) {}
  ResultOrFailure<image::TreeIndex> make_directory(const std::string& path);
  StatusOrFailure copy_item(const CopyPart& part, ScannedPart& scanned, const CopyItem& item);
  ResultOrFailure<std::string> place_directory(const std::string& path, image::InodeSpec spec);
  ResultOrFailure<image::TreeIndex> place_file(const std::string& path, image::InodeSpec spec);
  StatusOrFailure place_name(const std::string& path, image::TreeIndex node);
  StatusOrFailure forget_replaced();
  image::InodeSpec adapted(image::InodeSpec spec, bool keep_owners) const;
  image::InodeSpec new_directory() const;

  CopyTarget target_;
  image::Monitor& monitor_;
  image::Tree tree_;
  std::map<std::string, image::TreeIndex> directories_;  // by path
  std::vector<ScannedPart> parts_;
  std::size_t added_ = 0;
};

// Files that are given as text: here-documents.
class TextSource : public image::TreeSource {
 public:
  TextSource(std::vector<std::pair<std::string, std::string>> files, Timestamp mtime)
      : files_(std::move(files)), mtime_(mtime) {}
  ResultOrFailure<image::Tree> scan() override;
  StatusOrFailure for_each_content(const image::Tree& tree, const ContentConsumer& take) override;

 private:
  std::vector<std::pair<std::string, std::string>> files_;  // name, content
  Timestamp mtime_;
};

}  // namespace varve::recipe
