#include "imagetool/image/source/tar_source.h"

#include <archive.h>
#include <archive_entry.h>

#include <utility>

#include "imagetool/image/extract/tar_entry.h"
#include "imagetool/image/source/lower_content.h"
#include "imagetool/image/source/tar_input.h"
#include "imagetool/image/source/tar_scan.h"

namespace varve::image {
namespace {

// The data of the member that the reader stands at.
class TarContent : public ContentSource {
 public:
  TarContent(archive* reader, const TarInput& input, Monitor& monitor)
      : reader_(reader), input_(input), monitor_(monitor) {}
  ResultOrFailure<std::optional<Chunk>> next() override {
    for (;;) {
      if (monitor_.cancelled()) return cancelled_failure();
      const void* bytes = nullptr;
      std::size_t size = 0;
      la_int64_t offset = 0;
      const int result = archive_read_data_block(reader_, &bytes, &size, &offset);
      if (result == ARCHIVE_EOF) return std::optional<Chunk>{};
      if (result != ARCHIVE_OK && result != ARCHIVE_WARN) return input_.failure(reader_);
      if (size == 0) continue;  // a hole at the end of a sparse file
      monitor_.advance(size);
      return std::optional<Chunk>{
          Chunk{static_cast<std::uint64_t>(offset), std::span(static_cast<const std::byte*>(bytes), size)}};
    }
  }

 private:
  archive* reader_;
  const TarInput& input_;
  Monitor& monitor_;
};

}  // namespace

TarSource::TarSource(std::unique_ptr<TarInput> input, Options options, Monitor& monitor)
    : input_(std::move(input)), options_(std::move(options)), monitor_(monitor) {}
TarSource::~TarSource() = default;

ResultOrFailure<std::unique_ptr<TarSource>> TarSource::open(const std::string& path, Options options,
                                                            Monitor& monitor) {
  VARVE_ASSIGN(std::unique_ptr<TarInput> input,
               TarInput::open(path, options.name, options.spool_directory, monitor));
  return std::unique_ptr<TarSource>(new TarSource(std::move(input), std::move(options), monitor));
}

void TarSource::warn_of_member(archive* reader) {
  const char* text = archive_error_string(reader);
  const std::string_view why = text != nullptr ? text : "odd";
  // Names and targets that are no UTF-8, as GNU tar writes them: their bytes are kept as they are.
  if (why.find("can't be converted from UTF-8") != std::string_view::npos) return;
  monitor_.warn(input_->name() + ": member " + std::to_string(members_ + 1) + ": " + std::string(why));
}

ResultOrFailure<Tree> TarSource::scan() {
  const Utf8Locale locale;
  VARVE_ASSIGN(const ArchivePtr reader, input_->start(TarInput::Until::kEndOfArchive));
  TarScan scan(input_->name(), options_.filter, options_.below, monitor_);
  archive_entry* entry = nullptr;
  for (members_ = 0;; ++members_) {
    if (monitor_.cancelled()) return cancelled_failure();
    const la_int64_t end = archive_filter_bytes(reader.get(), 0);
    const int result = archive_read_next_header(reader.get(), &entry);
    if (result == ARCHIVE_EOF) {
      if (archive_filter_bytes(reader.get(), 0) == end)
        monitor_.warn(input_->name() + ": ends without the mark of an archive's end; it may be cut off");
      break;
    }
    // ARCHIVE_RETRY: it passed over something that is no header.
    if (result != ARCHIVE_OK && result != ARCHIVE_WARN) return input_->failure(reader.get());
    if (result == ARCHIVE_WARN) warn_of_member(reader.get());
    VARVE_RETURN_IF_ERROR(scan.add(entry, members_ + 1));
    if (archive_read_data_skip(reader.get()) != ARCHIVE_OK) return input_->failure(reader.get());
  }
  VARVE_RETURN_IF_ERROR(scan.finish());
  VARVE_RETURN_IF_ERROR(input_->drain());
  copied_up_ = scan.copied_up();
  return std::move(scan).take();
}

StatusOrFailure TarSource::give_copied_up(TreeIndex node, const ContentConsumer& take) {
  const UnionRef& from = copied_up_.at(node);
  const layer::Layer& layer = options_.below->layer(from);
  const Result<std::unique_ptr<layer::LowerFile>> lower = layer.open_file(from.id);
  if (!lower.ok()) return failure_from(lower.error(), layer.name() + ": a file that a hard link leads to");
  LowerContent content(**lower, {.ranges = {{0, (*lower)->size_bytes()}}, .path = layer.name()}, monitor_);
  return take(node, content);
}

StatusOrFailure TarSource::for_each_content(const Tree& tree, const ContentConsumer& take) {
  std::vector<TreeIndex> wanted;  // by member number; kWhiteoutNode: not wanted
  for (const ContentFile file : files_in_layer_order(tree, large_bytes_)) {
    if (copied_up_.contains(file.node)) {
      VARVE_RETURN_IF_ERROR(give_copied_up(file.node, take));
      continue;
    }
    const std::uint64_t key = tree.source_key(file.node);
    if (wanted.size() <= key) wanted.resize(key + 1, kWhiteoutNode);
    wanted[key] = file.node;
  }
  const Utf8Locale locale;
  // Past the end too, to see whether anything follows.
  VARVE_ASSIGN(const ArchivePtr reader, input_->start(TarInput::Until::kEndOfFile));
  archive_entry* entry = nullptr;
  for (std::uint64_t key = 1; key <= members_; ++key) {
    if (monitor_.cancelled()) return cancelled_failure();
    const int result = archive_read_next_header(reader.get(), &entry);
    if (result != ARCHIVE_OK && result != ARCHIVE_WARN) return input_->failure(reader.get());
    if (key >= wanted.size() || wanted[key] == kWhiteoutNode) continue;
    TarContent content(reader.get(), *input_, monitor_);
    VARVE_RETURN_IF_ERROR(take(wanted[key], content));
  }
  // ARCHIVE_FATAL: less than a block follows, as when zeros up to some other size do.
  const int rest = archive_read_next_header(reader.get(), &entry);
  if (rest != ARCHIVE_EOF && rest != ARCHIVE_FATAL && !std::exchange(told_of_rest_, true)) {
    monitor_.warn(input_->name() +
                  ": something follows the archive's end and is not read (another archive, or rubbish)");
  }
  return input_->check_unchanged();
}

}  // namespace varve::image
