#include "imagetool/image/layer_builder.h"

#include <vector>

#include "imagetool/image/layer_verify.h"

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

InodeSpec directory_spec() {
  InodeSpec spec;
  spec.attributes.mode = S_IFDIR;
  return spec;
}

// The layer at `path` as anybody would read it.
StatusOrFailure check_layer(const std::string& path, Monitor& monitor) {
  VARVE_ASSIGN(const VerifyReport report, verify_layer(path, monitor));
  if (report.good()) return {};
  const std::string what = report.problems.empty()
                               ? report.damaged_files[0].path + ": " + report.damaged_files[0].reason
                               : report.problems[0];
  return Failure{EIO, "the layer just written does not read as it should (check memory and disk): " + what};
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
  LayerWriter::Options writer_options = options.writer;
  if (options.verify) {
    writer_options.check = [&monitor](const std::string& path) { return check_layer(path, monitor); };
  }
  VARVE_ASSIGN(const std::unique_ptr<LayerWriter> writer, LayerWriter::create(writer_options));
  monitor.begin("scanning", 0);
  VARVE_ASSIGN(Tree tree, source.scan());
  monitor.end();
  apply_overrides(tree, options);
  VARVE_ASSIGN(std::vector<std::uint32_t> inodes, add_metadata(tree, *writer, monitor));

  const std::uint64_t content_bytes = content_bytes_of(tree);
  tree.keep_only_sizes();
  source.set_large_bytes(options.writer.frame_bytes);
  monitor.begin("packing", content_bytes);
  VARVE_RETURN_IF_ERROR(
      source.for_each_content(tree, [&](TreeIndex node, ContentSource& content) -> StatusOrFailure {
        if (monitor.cancelled()) return cancelled_failure();
        return writer->add_content(inodes[node], content);
      }));
  if (monitor.cancelled()) return cancelled_failure();
  // The writer has all of it by now, and is about to need memory of its own.
  tree = Tree(directory_spec());
  inodes = std::vector<std::uint32_t>();
  auto summary = writer->finish();
  monitor.end();
  return summary;
}

}  // namespace varve::image
