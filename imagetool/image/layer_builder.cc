#include "imagetool/image/layer_builder.h"

#include <vector>

namespace varve::image {
namespace {

void apply_overrides(Tree& tree, const BuildOptions& options) {
  for (TreeIndex index = 0; index < tree.node_count(); ++index) {
    Attributes& attributes = tree.node(index).spec.attributes;
    if (options.owner) {
      attributes.uid = options.owner->uid;
      attributes.gid = options.owner->gid;
    }
    if (options.latest_mtime_seconds && attributes.mtime.seconds >= *options.latest_mtime_seconds) {
      attributes.mtime = {*options.latest_mtime_seconds, 0};
    }
  }
}

std::uint64_t content_bytes_of(const Tree& tree) {
  std::uint64_t total = 0;
  for (TreeIndex index = 0; index < tree.node_count(); ++index) {
    const Attributes& attributes = tree.node(index).spec.attributes;
    if (attributes.is_regular()) total += attributes.size_bytes;
  }
  return total;
}

Failure with_path(const std::string& path, const Failure& failure) {
  return Failure{failure.error_number, (path.empty() ? "/" : path) + ": " + failure.message};
}

// Inodes and names in canonical order. Returns: the writer's number for each node of the tree; 0 for nodes
// without a name.
ResultOrFailure<std::vector<std::uint32_t>> add_metadata(const Tree& tree, LayerWriter& writer,
                                                         Monitor& monitor) {
  std::vector<std::uint32_t> inodes(tree.node_count(), 0);
  const StatusOrFailure walked = tree.walk([&](const Tree::Visit& visit) -> StatusOrFailure {
    if (monitor.cancelled()) return cancelled_failure();
    const auto add = [&]() -> StatusOrFailure {
      if (visit.node == kWhiteoutNode) return writer.add_whiteout(inodes[visit.directory], visit.name);
      if (inodes[visit.node] == 0) {
        VARVE_ASSIGN(inodes[visit.node], writer.add_inode(tree.node(visit.node).spec));
      }
      if (visit.node == kTreeRoot) return {};
      return writer.add_name(inodes[visit.directory], visit.name, inodes[visit.node]);
    };
    const StatusOrFailure added = add();
    if (!added.ok()) return with_path(visit.path, added.error());
    return {};
  });
  if (!walked.ok()) return walked.error();
  return inodes;
}

// One of the names of `node`, from the root. For messages: it looks at the whole tree.
std::string path_of(const Tree& tree, TreeIndex node) {
  std::string path;
  const StatusOrFailure walked = tree.walk([&](const Tree::Visit& visit) -> StatusOrFailure {
    if (visit.node != node) return {};
    path = visit.path;
    return Failure{EEXIST, "found"};  // ends the walk
  });
  return walked.ok() ? std::string("a file without a name") : path;
}

}  // namespace

ResultOrFailure<LayerWriter::Summary> build_layer(TreeSource& source, const BuildOptions& options,
                                                  Monitor& monitor) {
  VARVE_ASSIGN(const std::unique_ptr<LayerWriter> writer, LayerWriter::create(options.writer));
  monitor.begin("scanning", 0);
  VARVE_ASSIGN(Tree tree, source.scan());
  monitor.end();
  apply_overrides(tree, options);
  VARVE_ASSIGN(const std::vector<std::uint32_t> inodes, add_metadata(tree, *writer, monitor));

  monitor.begin("packing", content_bytes_of(tree));
  VARVE_RETURN_IF_ERROR(
      source.for_each_content(tree, [&](TreeIndex node, ContentSource& content) -> StatusOrFailure {
        if (monitor.cancelled()) return cancelled_failure();
        const StatusOrFailure added = writer->add_content(inodes[node], content);
        // What the content is says the source; what does not fit the file says the writer, which knows no paths.
        if (!added.ok() && added.error().error_number == EINVAL && !monitor.cancelled()) {
          return with_path(path_of(tree, node), added.error());
        }
        return added;
      }));
  if (monitor.cancelled()) return cancelled_failure();
  auto summary = writer->finish();
  monitor.end();
  return summary;
}

}  // namespace varve::image
