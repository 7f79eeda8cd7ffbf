// extract_to_tar: see layer_extract.h.

#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <memory>
#include <vector>

#include "fs/base/name.h"
#include "fs/format/layer_layout.h"
#include "fs/layer/hidden_names.h"
#include "imagetool/image/extract/layer_extract.h"
#include "imagetool/image/extract/tar_writer.h"
#include "imagetool/image/layer_walk.h"
#include "imagetool/image/source/tree.h"

namespace varve::image {
namespace {

constexpr std::size_t kPieceBytes = 1 << 20;
constexpr std::uint64_t kBlockBytes = 1ULL << format::kBlockLog2;
constexpr std::uint64_t kMostZeroBytes = 1 << 30;  // in place of holes

class TarExtraction {
 public:
  TarExtraction(const layer::Layer& layer, LayerOutput& output, Monitor& monitor, TarStyle style)
      : layer_(layer), monitor_(monitor), style_(style), writer_(output, style), buffer_(kPieceBytes) {}
  StatusOrFailure run();
  const ExtractSummary& summary() const { return summary_; }

 private:
  std::string shown(const std::string& path) const { return layer_.name() + ": /" + path; }
  void lose(const std::string& path, const std::string& what);
  StatusOrFailure visit(const LayerVisit& visit);
  StatusOrFailure write_mark(const std::string& path);
  StatusOrFailure write_object(LowerId id, const std::string& path);
  ResultOrFailure<std::vector<layer::Range>> data_ranges(const layer::LowerFile& from,
                                                         std::uint64_t size_bytes,
                                                         const std::string& path) const;
  StatusOrFailure write_content(LowerId id, const InodeSpec& spec, const std::string& path);
  StatusOrFailure copy_range(const layer::LowerFile& from, const layer::Range& range,
                             const std::string& path);

  const layer::Layer& layer_;
  Monitor& monitor_;
  const TarStyle style_;
  TarWriter writer_;
  std::vector<std::byte> buffer_;
  ExtractSummary summary_;
  std::map<std::uint64_t, std::string> hard_links_;  // inode number -> first path
};

void TarExtraction::lose(const std::string& path, const std::string& what) {
  ++summary_.losses;
  monitor_.warn(shown(path) + ": " + what);
}

StatusOrFailure TarExtraction::run() {
  const StatusOrFailure walked = walk_layer(layer_, [&](const LayerVisit& at) -> ResultOrFailure<bool> {
    if (monitor_.cancelled()) return cancelled_failure();
    VARVE_RETURN_IF_ERROR(visit(at));
    return true;
  });
  return walked.ok() ? writer_.finish() : walked;
}

StatusOrFailure TarExtraction::visit(const LayerVisit& at) {
  ++summary_.objects;
  const std::size_t slash = at.path.rfind('/');
  const std::string parent = slash == std::string::npos ? "" : at.path.substr(0, slash);
  const std::string name = slash == std::string::npos ? at.path : at.path.substr(slash + 1);
  if (at.entry.kind == layer::Entry::Kind::kWhiteout) {
    if (layer::kWhiteoutPrefix.size() + name.size() > Name::kMaxSize) {
      lose(at.path, "the mark that deletes it would have a name longer than 255 bytes, left out");
      return {};
    }
    return write_mark(join_path(parent, std::string(layer::kWhiteoutPrefix) + name));
  }
  if (name.starts_with(layer::kWhiteoutPrefix)) {
    lose(at.path, "a file of this name would be taken for a whiteout in an archive, left out");
    return {};
  }
  VARVE_RETURN_IF_ERROR(write_object(at.entry.id, at.path));
  if (!S_ISDIR(at.entry.type)) return {};
  const Result<layer::DirectoryMark> mark = layer_.directory_mark(at.entry.id);
  if (!mark.ok()) return failure_from(mark.error(), shown(at.path));
  if (mark->redirect) {
    lose(at.path, "an archive cannot say that it continues " + *mark->redirect + " of the layers below");
  }
  if (mark->opaque) return write_mark(join_path(at.path, layer::kOpaqueName));
  return {};
}

// An empty file, as OCI layers and AUFS mark what is deleted.
StatusOrFailure TarExtraction::write_mark(const std::string& path) {
  InodeSpec spec;
  spec.attributes.mode = S_IFREG | 0644;
  return writer_.begin({.path = path, .hard_link = {}, .spec = spec, .data = {}});
}

StatusOrFailure TarExtraction::write_object(LowerId id, const std::string& path) {
  VARVE_ASSIGN(const InodeSpec spec, read_object(layer_, id, path));
  const Attributes& attributes = spec.attributes;
  if (S_ISSOCK(attributes.mode)) {
    lose(path, "a socket, which an archive cannot hold, left out");
    return {};
  }
  if (attributes.nlink > 1 && !attributes.is_directory()) {
    const Result<std::uint64_t> number = layer_.inode_number(id);
    if (!number.ok()) return failure_from(number.error(), shown(path));
    const auto [known, fresh] = hard_links_.emplace(*number, path);
    if (!fresh) return writer_.begin({.path = path, .hard_link = known->second, .spec = spec, .data = {}});
  }
  if (attributes.is_regular() && attributes.size_bytes > 0) return write_content(id, spec, path);
  return writer_.begin({.path = path.empty() ? "." : path, .hard_link = {}, .spec = spec, .data = {}});
}

// In whole blocks, as TarWriter wants them: data of a delta file may end inside one, with what was the end of its base.
ResultOrFailure<std::vector<layer::Range>> TarExtraction::data_ranges(const layer::LowerFile& from,
                                                                      std::uint64_t size_bytes,
                                                                      const std::string& path) const {
  std::vector<layer::Range> ranges;
  for (std::uint64_t offset = 0; offset < size_bytes;) {
    const Result<std::optional<layer::Range>> range = from.next_data(offset);
    if (!range.ok()) return failure_from(range.error(), shown(path));
    if (!range->has_value() || (*range)->offset_bytes >= size_bytes) break;
    // `offset` is the end of a block too.
    const std::uint64_t start = (*range)->offset_bytes / kBlockBytes * kBlockBytes;
    const std::uint64_t left = size_bytes - start;
    const std::uint64_t wanted = (*range)->offset_bytes - start + std::min((*range)->size_bytes, left);
    const std::uint64_t size = std::min(left, wanted + (kBlockBytes - wanted % kBlockBytes) % kBlockBytes);
    if (!ranges.empty() && start == offset) {
      ranges.back().size_bytes += size;
    } else {
      ranges.push_back({start, size});
    }
    offset = start + size;
  }
  if (style_ == TarStyle::kForTar) return ranges;
  std::uint64_t data_bytes = 0;
  for (const layer::Range& range : ranges) data_bytes += range.size_bytes;
  if (size_bytes - data_bytes <= kMostZeroBytes) ranges = {{0, size_bytes}};
  return ranges;
}

StatusOrFailure TarExtraction::write_content(LowerId id, const InodeSpec& spec, const std::string& path) {
  const std::uint64_t size_bytes = spec.attributes.size_bytes;
  const Result<std::unique_ptr<layer::LowerFile>> from = layer_.open_file(id);
  if (!from.ok()) return failure_from(from.error(), shown(path));
  VARVE_ASSIGN(const std::vector<layer::Range> ranges, data_ranges(**from, size_bytes, path));
  VARVE_RETURN_IF_ERROR(writer_.begin({.path = path, .hard_link = {}, .spec = spec, .data = ranges}));
  for (const layer::Range& range : ranges) VARVE_RETURN_IF_ERROR(copy_range(**from, range, path));
  summary_.content_bytes += size_bytes;
  return {};
}

StatusOrFailure TarExtraction::copy_range(const layer::LowerFile& from, const layer::Range& range,
                                          const std::string& path) {
  const std::uint64_t end = range.offset_bytes + range.size_bytes;
  for (std::uint64_t offset = range.offset_bytes; offset < end;) {
    if (monitor_.cancelled()) return cancelled_failure();
    const std::size_t want = static_cast<std::size_t>(std::min<std::uint64_t>(buffer_.size(), end - offset));
    const Result<std::size_t> got = from.read(offset, std::span(buffer_).first(want));
    if (!got.ok()) return failure_from(got.error(), shown(path));
    if (*got == 0) return Failure{EIO, shown(path) + ": ends before its size"};
    VARVE_RETURN_IF_ERROR(writer_.put(std::span(buffer_).first(*got)));
    offset += *got;
    monitor_.advance(*got);
  }
  return {};
}

}  // namespace

ResultOrFailure<ExtractSummary> extract_to_tar(const layer::Layer& layer, LayerOutput& output,
                                               Monitor& monitor, TarStyle style) {
  TarExtraction extraction(layer, output, monitor, style);
  VARVE_RETURN_IF_ERROR(extraction.run());
  return extraction.summary();
}

}  // namespace varve::image
