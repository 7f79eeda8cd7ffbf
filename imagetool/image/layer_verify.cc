#include "imagetool/image/layer_verify.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>

#include "fs/format/hash.h"
#include "fs/layer/file_pieces.h"
#include "fs/layer/layer_file.h"
#include "imagetool/image/layer_walk.h"
#include "imagetool/image/writer/layer_content_reader.h"

namespace varve::image {
namespace {

constexpr std::size_t kPieceBytes = 1 << 20;
constexpr std::uint64_t kZeroStepBytes = std::uint64_t{256} << 20;  // between looks at the monitor
// A digest covers the zeros of holes, so a layer of a few bytes can ask for exabytes to be hashed. So much of one file is what
// this project's writer puts under a digest, and all holes of a layer take a few seconds.
constexpr std::uint64_t kMaxHoleBytesOfFile = kMaxHashedHoleBytes;
constexpr std::uint64_t kMaxHoleBytesOfLayer = std::uint64_t{16} << 30;

class Verification {
 public:
  Verification(const layer::LayerFile& layer, Monitor& monitor)
      : layer_(layer), monitor_(monitor), buffer_(kPieceBytes) {}
  StatusOrFailure run();
  VerifyReport take_report() { return std::move(report_); }
  // Returns: why the content is not what it was, empty when it is.
  ResultOrFailure<std::string> check_content(LowerId id, std::uint64_t size_bytes);

 private:
  StatusOrFailure check_frames();
  StatusOrFailure check_files();
  void add_bad_file(std::vector<VerifyReport::DamagedFile>& files, const LayerVisit& at,
                    std::uint64_t size_bytes, std::string reason) const;
  // What is hashed of one file as long as there is a digest to compare it with.
  struct Comparison {
    std::optional<format::Hash128> expected;
    format::ContentHasher hasher;
    std::uint64_t hole_bytes = 0;
  };
  StatusOrFailure hash_hole(Comparison& comparison, std::uint64_t count_bytes);

  const layer::LayerFile& layer_;
  Monitor& monitor_;
  std::vector<std::byte> buffer_;
  std::uint64_t hole_bytes_ = 0;  // hashed so far
  VerifyReport report_;
};

StatusOrFailure Verification::run() {
  VARVE_RETURN_IF_ERROR(check_frames());
  return check_files();
}

StatusOrFailure Verification::check_frames() {
  const auto frames = layer_.tables().frames;
  monitor_.begin("checking frames", layer_.tables().data_end);
  for (std::uint64_t frame = 0; frame < frames.size(); ++frame) {
    if (monitor_.cancelled()) return cancelled_failure();
    if (const auto damage = layer_.check_frame(frame)) report_.problems.push_back(damage->message);
    monitor_.advance(frames[frame].stored_size);
  }
  monitor_.end();
  report_.frames = frames.size();
  return {};
}

StatusOrFailure Verification::check_files() {
  monitor_.begin("checking files", layer_.tables().content_bytes);
  std::map<std::uint64_t, std::string> linked;  // outcome for files with several names
  VARVE_RETURN_IF_ERROR(walk_layer(layer_, [&](const LayerVisit& at) -> ResultOrFailure<bool> {
    if (monitor_.cancelled()) return cancelled_failure();
    if (at.entry.kind != layer::Entry::Kind::kObject || !S_ISREG(at.entry.type)) return true;
    const Result<Attributes> attributes = layer_.attributes(at.entry.id);
    if (!attributes.ok()) return failure_from(attributes.error(), layer_.name() + ": /" + at.path);
    auto known = linked.find(at.entry.id.value());
    if (known == linked.end()) {
      ++report_.files;
      if (!layer_.has_all_parents(at.entry.id)) {
        ++report_.unchecked_files;
        add_bad_file(report_.unchecked, at, attributes->size_bytes, {});
        return true;
      }
      report_.content_bytes += attributes->size_bytes;
      VARVE_ASSIGN(std::string outcome, check_content(at.entry.id, attributes->size_bytes));
      if (attributes->nlink < 2) {
        if (!outcome.empty())
          add_bad_file(report_.damaged_files, at, attributes->size_bytes, std::move(outcome));
        return true;
      }
      known = linked.emplace(at.entry.id.value(), std::move(outcome)).first;
    }
    if (!known->second.empty())
      add_bad_file(report_.damaged_files, at, attributes->size_bytes, known->second);
    return true;
  }));
  monitor_.end();
  for (const format::Extent& extent : layer_.tables().extents) {
    if (format::extent_source(extent.source_word) != 0) report_.parent_bytes += extent.length;
  }
  return {};
}

void Verification::add_bad_file(std::vector<VerifyReport::DamagedFile>& files, const LayerVisit& at,
                                std::uint64_t size_bytes, std::string reason) const {
  VerifyReport::DamagedFile file{.path = "/" + at.path,
                                 .reason = std::move(reason),
                                 .id = at.entry.id,
                                 .sources = {},
                                 .digest = layer_.content_digest(at.entry.id),
                                 .size_bytes = size_bytes};
  const auto add_source = [&](const layer::LayerFile& source) {
    if (&source == &layer_) return;
    if (std::find(file.sources.begin(), file.sources.end(), source.name()) == file.sources.end())
      file.sources.push_back(source.name());
  };
  const auto chain = layer::chain_of(layer_, at.entry.id);
  if (chain.ok()) {
    // It says more than the errno of what reads along it.
    if (chain->end != layer::FileChain::End::kComplete) file.reason = chain->why;
    for (const auto& link : chain->files) add_source(*link.layer);
    if (chain->end == layer::FileChain::End::kComplete) {
      const auto pieces = layer::pieces_of(layer_, at.entry.id);
      if (pieces.ok()) {
        for (const layer::Piece& piece : *pieces) add_source(*piece.layer);
      }
    }
  }
  files.push_back(std::move(file));
}

StatusOrFailure Verification::hash_hole(Comparison& comparison, std::uint64_t count_bytes) {
  if (!comparison.expected || count_bytes == 0) return {};
  if (count_bytes > kMaxHoleBytesOfFile - comparison.hole_bytes ||
      count_bytes > kMaxHoleBytesOfLayer - hole_bytes_) {
    comparison.expected.reset();
    ++report_.uncompared_files;
    return {};
  }
  comparison.hole_bytes += count_bytes;
  hole_bytes_ += count_bytes;
  while (count_bytes > 0) {
    if (monitor_.cancelled()) return cancelled_failure();
    const std::uint64_t now = std::min(count_bytes, kZeroStepBytes);
    comparison.hasher.update_zeros(now);
    monitor_.advance(now);
    count_bytes -= now;
  }
  return {};
}

ResultOrFailure<std::string> Verification::check_content(LowerId id, std::uint64_t size_bytes) {
  const auto why = [](Errno error) { return std::string(std::strerror(error.value)); };
  const Result<std::unique_ptr<layer::LowerFile>> file = layer_.open_file(id);
  if (!file.ok()) return why(file.error());
  Comparison comparison{.expected = layer_.content_digest(id), .hasher = {}, .hole_bytes = 0};
  std::uint64_t offset = 0;
  while (offset < size_bytes) {
    const Result<std::optional<layer::Range>> range = (*file)->next_data(offset);
    if (!range.ok()) return why(range.error());
    const std::uint64_t data = range->has_value() ? (*range)->offset_bytes : size_bytes;
    VARVE_RETURN_IF_ERROR(hash_hole(comparison, data - offset));
    offset = data;
    const std::uint64_t end = range->has_value() ? data + (*range)->size_bytes : size_bytes;
    while (offset < end) {
      if (monitor_.cancelled()) return cancelled_failure();
      const std::size_t want =
          static_cast<std::size_t>(std::min<std::uint64_t>(buffer_.size(), end - offset));
      const Result<std::size_t> got = (*file)->read(offset, std::span(buffer_).first(want));
      if (!got.ok()) return "from byte " + std::to_string(offset) + " on: " + why(got.error());
      if (*got == 0) return std::string("ends before its size");
      if (comparison.expected) comparison.hasher.update(std::span(buffer_).first(*got));
      monitor_.advance(*got);
      offset += *got;
    }
  }
  if (comparison.expected && comparison.hasher.digest() != *comparison.expected)
    return std::string("its content does not match its digest");
  return std::string();
}

}  // namespace

ResultOrFailure<std::string> check_content(const layer::LayerFile& layer, LowerId file, Monitor& monitor) {
  const Result<Attributes> attributes = layer.attributes(file);
  if (!attributes.ok()) return std::string(std::strerror(attributes.error().value));
  return Verification(layer, monitor).check_content(file, attributes->size_bytes);
}

ResultOrFailure<VerifyReport> verify_layer(const std::string& path,
                                           std::span<const std::shared_ptr<layer::Layer>> below,
                                           Monitor& monitor) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
    return Failure{EISDIR, path + ": a directory, which has no checksums (give a layer file)"};
  }
  // All metadata is checked, and its damage told by itself.
  const layer::LayerContext context{.lazy_from_bytes = UINT64_MAX};
  auto opened = layer::LayerFile::open(path, context, {.layers = below, .all_there = false});
  if (!opened.ok()) {
    if (opened.error().error_number != EUCLEAN) return std::move(opened).error();
    VerifyReport report;
    report.problems.push_back(opened.error().message);
    return report;
  }
  Verification verification(**opened, monitor);
  VARVE_RETURN_IF_ERROR(verification.run());
  return verification.take_report();
}

}  // namespace varve::image
