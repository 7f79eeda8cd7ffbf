#include "imagetool/image/writer/layer_writer.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <thread>

#include "fs/format/hash.h"
#include "fs/format/layer_layout.h"
#include "imagetool/image/writer/layer_content_reader.h"
#include "imagetool/image/writer/layer_content_store.h"
#include "imagetool/image/writer/layer_frame_compressor.h"
#include "imagetool/image/writer/layer_metadata.h"
#include "imagetool/image/writer/layer_output_file.h"
#include "imagetool/image/writer/layer_output_stream.h"

namespace varve::image {
namespace {

constexpr std::size_t kMaxParents = 65534;  // a PARENT index has 16 bits, and 0 is none

using Clock = std::chrono::steady_clock;

constexpr std::string_view kStandardOutput = "-";
// Packed frames are so many times larger than those of large files: small files are read whole and often together, so
// that a larger frame costs them less than it gains.
constexpr std::uint32_t kPackedFrames = 4;
// But from this size on more would gain little and cost each reader much.
constexpr std::uint32_t kEnoughPackedBytes = 1 << 20;

StatusOrFailure check_options(const LayerWriter::Options& options) {
  if (options.level < 1 || options.level > 19) {
    return Failure{EINVAL, fmt::format("compression level {} is not one of 1 to 19", options.level)};
  }
  if (!std::has_single_bit(options.frame_bytes) || options.frame_bytes < (1U << format::kBlockLog2) ||
      options.frame_bytes > format::kMaxFrameBytes) {
    return Failure{EINVAL, fmt::format("frame size {} is not a power of two from 4096 to {}",
                                       options.frame_bytes, format::kMaxFrameBytes)};
  }
  if (options.check && (options.dry_run || options.output_path == kStandardOutput))
    return Failure{EINVAL, "only a layer in a file can be checked after it is written"};
  if (options.packed_frame_bytes < options.frame_bytes ||
      options.packed_frame_bytes > format::kMaxFrameBytes) {
    return Failure{EINVAL,
                   fmt::format("packed frame size {} is not between {} and {}", options.packed_frame_bytes,
                               options.frame_bytes, format::kMaxFrameBytes)};
  }
  if (options.parents.size() > kMaxParents) {
    return Failure{
        EINVAL, fmt::format("a layer has at most {} parents, not {}", kMaxParents, options.parents.size())};
  }
  return {};
}

class StreamingLayerWriter final : public LayerWriter {
 public:
  StreamingLayerWriter(std::unique_ptr<LayerOutput> output, const Options& options)
      : options_(options),
        output_(std::move(output)),
        compressor_(*output_, {.level = options.level,
                               .jobs = options.jobs,
                               .largest_frame_bytes = options.packed_frame_bytes}),
        store_(compressor_,
               {.frame_bytes = options.frame_bytes, .packed_frame_bytes = options.packed_frame_bytes}),
        metadata_(options.parents) {}

  ResultOrFailure<std::uint32_t> add_inode(const InodeSpec& spec) override {
    return metadata_.add_inode(spec);
  }

  StatusOrFailure add_name(std::uint32_t directory, std::string_view name, std::uint32_t inode) override {
    return metadata_.add_name(directory, name, inode);
  }

  StatusOrFailure add_whiteout(std::uint32_t directory, std::string_view name) override {
    return metadata_.add_whiteout(directory, name);
  }

  void expect_inodes(std::uint64_t count) override { metadata_.expect_inodes(count); }
  void expect_names(std::uint64_t count, std::uint64_t bytes) override {
    metadata_.expect_names(count, bytes);
  }
  void end_contents() override { store_.forget_places(); }

  StatusOrFailure add_content(std::uint32_t inode, ContentSource& source) override {
    VARVE_RETURN_IF_ERROR(begin_data());
    VARVE_ASSIGN(const std::uint64_t size, metadata_.size_awaiting_content(inode));
    const bool delta = metadata_.has_base(inode);
    VARVE_ASSIGN(StoredContent content, read_content(source, size, delta, store_));
    data_bytes_ += content.data_bytes;
    if (delta) metadata_.set_data_blocks(inode, source.data_blocks());
    parent_bytes_ += content.parent_bytes;
    metadata_.set_content(inode, std::move(content));
    return {};
  }

  StatusOrFailure set_base(std::uint32_t inode, std::optional<DeltaBase> base) override {
    return metadata_.set_base(inode, std::move(base));
  }

  ResultOrFailure<Summary> finish() override {
    VARVE_RETURN_IF_ERROR(begin_data());
    VARVE_RETURN_IF_ERROR(store_.finish());
    VARVE_ASSIGN(std::vector<format::Frame> frames, compressor_.drain());
    const std::uint64_t data_end = compressor_.data_end();
    VARVE_RETURN_IF_ERROR(metadata_.complete({.store = store_,
                                              .frames = std::move(frames),
                                              .data_end = data_end,
                                              .frame_bytes = options_.frame_bytes,
                                              .level = options_.level}));
    VARVE_ASSIGN(const format::LayerFooter footer, metadata_.write(*output_));
    if (options_.check) {
      VARVE_RETURN_IF_ERROR(options_.check(fmt::format("/proc/self/fd/{}", output_->readable_fd())));
    }
    VARVE_RETURN_IF_ERROR(output_->publish());
    return Summary{.files = metadata_.inode_count(),
                   .content_bytes = metadata_.content_bytes(),
                   .data_bytes = data_bytes_,
                   .duplicate_bytes = store_.duplicate_bytes(),
                   .parent_bytes = parent_bytes_,
                   .stored_bytes = data_end - format::kDataOffset,
                   .file_bytes = footer.file_size,
                   .root_hash = format::to_hex(footer.root_hash),
                   .seconds = std::chrono::duration<double>(Clock::now() - started_).count()};
  }

 private:
  // The header goes first, as a stream needs it, and tells the features known so far.
  StatusOrFailure begin_data() {
    if (has_header_) return {};
    has_header_ = true;
    return metadata_.write_header(*output_, options_.frame_bytes);
  }

  const Options options_;
  const Clock::time_point started_ = Clock::now();
  std::unique_ptr<LayerOutput> output_;
  LayerFrameCompressor compressor_;
  LayerContentStore store_;
  LayerMetadata metadata_;
  std::uint64_t data_bytes_ = 0;
  std::uint64_t parent_bytes_ = 0;
  bool has_header_ = false;
};

ResultOrFailure<std::unique_ptr<LayerOutput>> open_output(const LayerWriter::Options& options) {
  if (options.dry_run) {
    return std::unique_ptr<LayerOutput>(std::make_unique<LayerOutputStream>(-1, options.output_path));
  }
  if (options.output_path == kStandardOutput) {
    return std::unique_ptr<LayerOutput>(
        std::make_unique<LayerOutputStream>(STDOUT_FILENO, "standard output"));
  }
  VARVE_ASSIGN(std::unique_ptr<LayerOutput> file, LayerOutputFile::create(options.output_path));
  return file;
}

}  // namespace

ResultOrFailure<std::unique_ptr<LayerWriter>> LayerWriter::create(const Options& options) {
  Options settled = options;
  if (settled.packed_frame_bytes == 0) {
    // A frame size that is out of range is refused below.
    settled.packed_frame_bytes =
        std::max(options.frame_bytes,
                 std::min(options.frame_bytes, kEnoughPackedBytes / kPackedFrames) * kPackedFrames);
  }
  VARVE_RETURN_IF_ERROR(check_options(settled));
  VARVE_ASSIGN(std::unique_ptr<LayerOutput> output, open_output(settled));
  if (settled.jobs == 0) settled.jobs = std::max(1U, std::thread::hardware_concurrency());
  return std::unique_ptr<LayerWriter>(std::make_unique<StreamingLayerWriter>(std::move(output), settled));
}

}  // namespace varve::image
