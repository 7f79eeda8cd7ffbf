#pragma once

// TreeSource: what a layer is built from: a directory (directory_source.h), a tar stream (tar_source.h), the
// upper of a mount (upper_source.h), other layers (layer_source.h). It is read in two passes: first all metadata, then all contents, so that
// names, attributes and the choice among duplicates are settled before the first byte is compressed. Thread
// rule: one thread calls a source.

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "imagetool/image/source/content_order.h"
#include "imagetool/image/source/part_progress.h"
#include "imagetool/image/source/tree.h"

namespace varve::image {

// How long work tells what it does, and is told to stop.
// Thread rule: all calls from one thread, that which does the work. Threads beside it never call a monitor: they tell a PartProgress,
// which the monitor reads from that one thread, or a RelayMonitor.
class Monitor {
 public:
  virtual ~Monitor() = default;
  // From now on `total_bytes` of content are to be done; 0 when unknown.
  virtual void begin(std::string_view, std::uint64_t) {}
  virtual void advance(std::uint64_t) {}  // bytes; with 0 time has passed
  virtual void end() {}
  // Other work goes on beside this from now on, until null: it is looked at whenever one of the others is called.
  virtual void show_parts(std::shared_ptr<const PartProgress>) {}
  // Something is not as the user may think, but the work goes on.
  virtual void warn(const std::string&) {}
  // True once the user asked to stop: work returns cancelled_failure() soon.
  virtual bool cancelled() const { return false; }
};
inline Failure cancelled_failure() {
  return Failure{ECANCELED, "interrupted"};
}

// Patterns of paths to leave out, as fnmatch(3): one with a '/' is compared with the whole path from the root
// ("var/cache/*" as well as "/var/cache/*"; '*' does not match '/'), one without with the last component.
// What is beneath an excluded directory is excluded.
class PathFilter {
 public:
  PathFilter() = default;
  explicit PathFilter(std::vector<std::string> patterns);
  // Asks `excludes` instead.
  explicit PathFilter(std::function<bool(std::string_view path)> excludes) : asked_(std::move(excludes)) {}
  // `path` without a leading '/'. Says nothing of the directories above it.
  bool excludes(std::string_view path) const;
  bool empty() const { return !asked_ && whole_path_.empty() && last_component_.empty(); }

 private:
  std::function<bool(std::string_view path)> asked_;
  std::vector<std::string> whole_path_;
  std::vector<std::string> last_component_;
};

class TreeSource {
 public:
  virtual ~TreeSource() = default;

  // Everything but contents. Call once.
  // Returns: a Failure that names the path that could not be read or makes no sense.
  virtual ResultOrFailure<Tree> scan() = 0;

  // Regular files of this many bytes and more have frames of their own; smaller ones share some (content_order.h).
  virtual void set_large_bytes(std::uint64_t large_bytes) { large_bytes_ = large_bytes; }

  // Those that share frames are put in an order by their content (similarity.h), for which a directory reads them twice. Other
  // sources take no notice.
  virtual void set_by_similarity(bool by_similarity) { by_similarity_ = by_similarity; }

  // Called with a regular file of the tree and its content.
  using ContentConsumer = std::function<StatusOrFailure(TreeIndex, ContentSource&)>;
  // Calls `take` once for each regular file with a size above 0 that a walk of `tree` reaches, in the order
  // that suits a layer. May be called again. Requires: `tree` came from scan(); its attributes may have been changed, and
  // names taken away.
  virtual StatusOrFailure for_each_content(const Tree& tree, const ContentConsumer& take) = 0;

 protected:
  std::uint64_t large_bytes_ = 65536;
  bool by_similarity_ = false;
};

}  // namespace varve::image
