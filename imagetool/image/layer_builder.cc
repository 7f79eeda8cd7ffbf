#include "imagetool/image/layer_builder.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "fs/base/checked.h"
#include "imagetool/image/chunk/chunked_content.h"
#include "imagetool/image/layer_verify.h"
#include "imagetool/image/parent_content.h"
#include "imagetool/image/tree_difference.h"

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
StatusOrFailure check_layer(const std::string& path, const ParentFiles* parents, Monitor& monitor) {
  std::span<const std::shared_ptr<layer::Layer>> below;
  if (parents != nullptr) below = parents->stack();
  VARVE_ASSIGN(const VerifyReport report, verify_layer(path, below, monitor));
  if (report.good()) return {};
  const std::string what = report.problems.empty()
                               ? report.damaged_files[0].path + ": " + report.damaged_files[0].reason
                               : report.problems[0];
  return Failure{EIO, "the layer just written does not read as it should (check memory and disk): " + what};
}

Failure with_path(const std::string& path, const Failure& failure) {
  return Failure{failure.error_number, (path.empty() ? "/" : path) + ": " + failure.message};
}

// A file of at most this size is held in memory to be looked for among the files of the parents, wherever they lie.
constexpr std::uint64_t kMaxHeldBytes = 4 << 20;

// The content of one file, read at once.
class HeldContent : public ContentSource {
 public:
  StatusOrFailure read(ContentSource& source, std::uint64_t size_bytes) {
    bytes_.assign(size_bytes, std::byte{0});
    for (;;) {
      VARVE_ASSIGN(const std::optional<Chunk> chunk, source.next());
      if (!chunk) return {};
      if (!range_within<std::uint64_t>(chunk->offset_bytes, chunk->bytes.size(), size_bytes)) {
        return Failure{EINVAL, "its content is longer than its size"};
      }
      if (chunk->bytes.empty()) continue;
      std::memcpy(bytes_.data() + chunk->offset_bytes, chunk->bytes.data(), chunk->bytes.size());
      pieces_.push_back({chunk->offset_bytes, chunk->bytes.size()});
    }
  }
  std::span<const std::byte> bytes() const { return bytes_; }
  ResultOrFailure<std::optional<Chunk>> next() override {
    if (next_ == pieces_.size()) return std::optional<Chunk>();
    const layer::Range& piece = pieces_[next_++];
    return std::optional<Chunk>(Chunk{.offset_bytes = piece.offset_bytes,
                                      .bytes = bytes().subspan(piece.offset_bytes, piece.size_bytes),
                                      .hole_bytes = 0});
  }

 private:
  std::vector<std::byte> bytes_;
  std::vector<layer::Range> pieces_;
  std::size_t next_ = 0;
};

// Hands contents to the writer, without what the parents hold already.
class ParentFilter {
 public:
  // `with_base`: by TreeIndex, the files of which the source gives only what they do not inherit.
  // `chunks` may be null.
  ParentFilter(ParentFiles& parents, LayerWriter& writer, std::vector<bool> with_base, ParentChunks* chunks)
      : parents_(parents), writer_(writer), with_base_(std::move(with_base)), chunks_(chunks) {}

  StatusOrFailure add(TreeIndex node, std::uint32_t inode, std::uint64_t size_bytes, ContentSource& content) {
    if (with_base_[node]) return add_new(inode, size_bytes, content);
    if (const auto same_path = parents_.at(node)) return add_beside(*same_path, inode, size_bytes, content);
    if (size_bytes > kMaxHeldBytes || !parents_.has_size(size_bytes))
      return add_new(inode, size_bytes, content);
    HeldContent held;
    VARVE_RETURN_IF_ERROR(held.read(content, size_bytes));
    const auto elsewhere = parents_.with_digest(format::xxh3_128(held.bytes()));
    if (!elsewhere) return add_new(inode, size_bytes, held);
    return add_beside(*elsewhere, inode, size_bytes, held);
  }

 private:
  // What no file of the parents is known for: perhaps a part of one holds it.
  StatusOrFailure add_new(std::uint32_t inode, std::uint64_t size_bytes, ContentSource& content) {
    if (chunks_ == nullptr || size_bytes < kLeastHeldBytes) return writer_.add_content(inode, content);
    ChunkedContent chunked(content, size_bytes, *chunks_);
    return writer_.add_content(inode, chunked);
  }

  StatusOrFailure add_beside(const ParentFile& file, std::uint32_t inode, std::uint64_t size_bytes,
                             ContentSource& content) {
    VARVE_ASSIGN(const std::unique_ptr<layer::LowerFile> lower, parents_.open(file));
    DeltaBase base = parents_.base(file);
    ParentContent changes(content, size_bytes, *lower, parents_.layer_of(file).name() + ": " + base.path);
    VARVE_RETURN_IF_ERROR(writer_.set_base(inode, std::move(base)));
    VARVE_RETURN_IF_ERROR(add_new(inode, size_bytes, changes));
    if (changes.inherited_blocks() == 0) return writer_.set_base(inode, std::nullopt);
    return {};
  }

  ParentFiles& parents_;
  LayerWriter& writer_;
  const std::vector<bool> with_base_;
  ParentChunks* const chunks_;
};

std::vector<bool> nodes_with_base(const Tree& tree) {
  std::vector<bool> with_base(tree.node_count());
  for (TreeIndex index = 0; index < tree.node_count(); ++index) {
    with_base[index] = tree.node(index).spec.base.has_value();
  }
  return with_base;
}

// Inodes in canonical order. Returns: the writer's number for each node of the tree; 0 for nodes without a name.
ResultOrFailure<std::vector<std::uint32_t>> add_inodes(const Tree& tree, LayerWriter& writer,
                                                       Monitor& monitor) {
  writer.expect_inodes(tree.node_count());
  std::vector<std::uint32_t> inodes(tree.node_count(), 0);
  const StatusOrFailure walked = tree.walk([&](const Tree::Visit& visit) -> StatusOrFailure {
    if (monitor.cancelled()) return cancelled_failure();
    if (visit.node == kWhiteoutNode || inodes[visit.node] != 0) return {};
    const auto added = writer.add_inode(tree.node(visit.node).spec);
    if (!added.ok()) return with_path(visit.path, added.error());
    inodes[visit.node] = *added;
    return {};
  });
  if (!walked.ok()) return walked.error();
  return inodes;
}

// Names in canonical order.
StatusOrFailure add_names(const Tree& tree, const std::vector<std::uint32_t>& inodes, LayerWriter& writer) {
  std::uint64_t count = 0;
  std::uint64_t bytes = 0;
  VARVE_RETURN_IF_ERROR(tree.walk([&](const Tree::Visit& visit) -> StatusOrFailure {
    ++count;
    bytes += visit.name.size();
    return {};
  }));
  writer.expect_names(count, bytes);
  return tree.walk([&](const Tree::Visit& visit) -> StatusOrFailure {
    if (visit.node == kTreeRoot) return {};
    const StatusOrFailure added =
        visit.node == kWhiteoutNode
            ? writer.add_whiteout(inodes[visit.directory], visit.name)
            : writer.add_name(inodes[visit.directory], visit.name, inodes[visit.node]);
    if (!added.ok()) return with_path(visit.path, added.error());
    return {};
  });
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

// The tree of the new layer.
ResultOrFailure<Tree> scan(TreeSource& source, const BuildOptions& options, Monitor& monitor) {
  monitor.begin("scanning", 0);
  VARVE_ASSIGN(Tree tree, source.scan());
  monitor.end();
  apply_overrides(tree, options);
  source.set_large_bytes(options.writer.frame_bytes);
  if (options.difference) {
    VARVE_CHECK(options.parents != nullptr);
    VARVE_RETURN_IF_ERROR(keep_difference(tree, source, options.parents->as_union(), monitor));
  }
  return tree;
}

}  // namespace

ResultOrFailure<LayerWriter::Summary> build_layer(TreeSource& source, const BuildOptions& options,
                                                  Monitor& monitor) {
  LayerWriter::Options writer_options = options.writer;
  if (options.parents != nullptr) writer_options.parents = options.parents->records();
  if (options.verify) {
    writer_options.check = [&monitor, &options](const std::string& path) {
      return check_layer(path, options.parents, monitor);
    };
  }
  VARVE_ASSIGN(const std::unique_ptr<LayerWriter> writer, LayerWriter::create(writer_options));
  VARVE_ASSIGN(Tree tree, scan(source, options, monitor));
  VARVE_ASSIGN(std::vector<std::uint32_t> inodes, add_inodes(tree, *writer, monitor));

  std::optional<ParentFilter> filter;
  std::unique_ptr<ParentChunks> chunks;
  if (options.parents != nullptr) {
    VARVE_RETURN_IF_ERROR(options.parents->match(tree));
    if (options.chunk_bytes) {
      VARVE_ASSIGN(chunks, ParentChunks::make(options.parents->layers(),
                                              {.average_bytes = *options.chunk_bytes,
                                               .table_bytes = options.chunk_table_bytes},
                                              monitor));
    }
    filter.emplace(*options.parents, *writer, nodes_with_base(tree), chunks.get());
  }
  const std::uint64_t content_bytes = content_bytes_of(tree);
  tree.keep_only_sizes();
  source.set_by_similarity(options.by_similarity);
  monitor.begin("packing", content_bytes);
  VARVE_RETURN_IF_ERROR(
      source.for_each_content(tree, [&](TreeIndex node, ContentSource& content) -> StatusOrFailure {
        if (monitor.cancelled()) return cancelled_failure();
        const StatusOrFailure added = filter ? filter->add(node, inodes[node], tree.size_bytes(node), content)
                                             : writer->add_content(inodes[node], content);
        // What the content is says the source; what does not fit the file says the writer, which knows no paths.
        if (!added.ok() && added.error().error_number == EINVAL && !monitor.cancelled()) {
          return with_path(path_of(tree, node), added.error());
        }
        return added;
      }));
  if (monitor.cancelled()) return cancelled_failure();
  // Names last: the writer needs memory for them that held what finds duplicates until now.
  writer->end_contents();
  VARVE_RETURN_IF_ERROR(add_names(tree, inodes, *writer));
  // The writer has all of it by now, and is about to need memory of its own.
  tree = Tree(directory_spec());
  inodes = std::vector<std::uint32_t>();
  auto summary = writer->finish();
  monitor.end();
  return summary;
}

}  // namespace varve::image
