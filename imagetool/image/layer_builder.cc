#include "imagetool/image/layer_builder.h"

#include <vector>

namespace varve::image {
namespace {

void apply_overrides(Tree& tree, const BuildOptions& options) {
  for (TreeIndex index = 0; index < tree.node_count(); ++index) {
    if (options.owner) tree.set_owner(index, options.owner->uid, options.owner->gid);
    if (options.latest_mtime_seconds && tree.mtime_seconds(index) >= *options.latest_mtime_seconds) {
      tree.set_mtime(index, {*options.latest_mtime_seconds, 0});
    }
  }
}

std::uint64_t content_bytes_of(const Tree& tree) {
  std::uint64_t total = 0;
  for (TreeIndex index = 0; index < tree.node_count(); ++index) {
    total += tree.size_bytes(index);
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
        return writer->add_content(inodes[node], content);
      }));
  if (monitor.cancelled()) return cancelled_failure();
  auto summary = writer->finish();
  monitor.end();
  return summary;
}

}  // namespace varve::image
