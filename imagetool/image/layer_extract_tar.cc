// extract_to_tar: see layer_extract.h.

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <vector>

#include "fs/layer/hidden_names.h"
#include "imagetool/image/layer_extract.h"
#include "imagetool/image/layer_walk.h"
#include "imagetool/image/source/tree.h"
#include "imagetool/image/tar_entry.h"

namespace varve::image {
namespace {

constexpr std::size_t kPieceBytes = 1 << 20;
constexpr int kTarRecordBytes = 10240;  // tar(1)'s default: the archive is padded to a multiple of it

struct FreeEntry {
  void operator()(archive_entry* entry) const { archive_entry_free(entry); }
};
struct FreeArchive {
  void operator()(archive* writer) const { archive_free(writer); }
};

class TarExtraction {
 public:
  TarExtraction(const layer::Layer& layer, std::string name, Monitor& monitor)
      : layer_(layer),
        name_(std::move(name)),
        monitor_(monitor),
        writer_(archive_write_new()),
        entry_(archive_entry_new()),
        buffer_(kPieceBytes),
        zeros_(kPieceBytes) {}
  StatusOrFailure run(int fd);
  const ExtractSummary& summary() const { return summary_; }

 private:
  Failure writer_failure() const;
  StatusOrFailure visit(const LayerVisit& visit);
  StatusOrFailure write_mark(const std::string& path);
  StatusOrFailure write_object(LowerId id, const std::string& path);
  StatusOrFailure write_header(const std::string& path);
  StatusOrFailure write_content(LowerId id, std::uint64_t size_bytes, const std::string& path);
  StatusOrFailure put(std::span<const std::byte> bytes);
  StatusOrFailure put_zeros(std::uint64_t count);

  const layer::Layer& layer_;
  std::string name_;
  Monitor& monitor_;
  std::unique_ptr<archive, FreeArchive> writer_;
  std::unique_ptr<archive_entry, FreeEntry> entry_;
  std::vector<std::byte> buffer_;
  std::vector<std::byte> zeros_;
  ExtractSummary summary_;
  std::map<std::uint64_t, std::string> hard_links_;  // inode number -> first path
};

Failure TarExtraction::writer_failure() const {
  const int error = archive_errno(writer_.get());  // an errno, or negative
  if (error > 0) return failure_from(Errno{error}, name_);
  const char* why = archive_error_string(writer_.get());
  return Failure{EIO, name_ + ": " + (why ? why : "cannot be written")};
}

StatusOrFailure TarExtraction::run(int fd) {
  const Utf8Locale locale;
  archive_write_set_format_pax(writer_.get());
  archive_write_add_filter_none(writer_.get());
  // Else it would depend on whether `fd` is a file.
  archive_write_set_bytes_per_block(writer_.get(), kTarRecordBytes);
  archive_write_set_bytes_in_last_block(writer_.get(), kTarRecordBytes);
  if (archive_write_open_fd(writer_.get(), fd) != ARCHIVE_OK) return writer_failure();
  const StatusOrFailure walked = walk_layer(layer_, [&](const LayerVisit& at) -> ResultOrFailure<bool> {
    if (monitor_.cancelled()) return cancelled_failure();
    VARVE_RETURN_IF_ERROR(visit(at));
    return true;
  });
  if (!walked.ok()) {
    archive_write_fail(writer_.get());  // no end-of-archive mark: what was written must not look whole
    return walked.error();
  }
  if (archive_write_close(writer_.get()) != ARCHIVE_OK) return writer_failure();
  return {};
}

StatusOrFailure TarExtraction::visit(const LayerVisit& at) {
  ++summary_.objects;
  const std::size_t slash = at.path.rfind('/');
  const std::string parent = slash == std::string::npos ? "" : at.path.substr(0, slash);
  const std::string name = slash == std::string::npos ? at.path : at.path.substr(slash + 1);
  if (at.entry.kind == layer::Entry::Kind::kWhiteout) {
    return write_mark(join_path(parent, std::string(layer::kWhiteoutPrefix) + name));
  }
  if (name.starts_with(layer::kWhiteoutPrefix)) {
    ++summary_.losses;
    monitor_.warn(layer_.name() + ": /" + at.path +
                  ": a file of this name would be taken for a whiteout in an archive, left out");
    return {};
  }
  VARVE_RETURN_IF_ERROR(write_object(at.entry.id, at.path));
  if (!S_ISDIR(at.entry.type)) return {};
  const Result<layer::DirectoryMark> mark = layer_.directory_mark(at.entry.id);
  if (!mark.ok()) return failure_from(mark.error(), layer_.name() + ": /" + at.path);
  if (mark->redirect) {
    ++summary_.losses;
    monitor_.warn(layer_.name() + ": /" + at.path + ": an archive cannot say that it continues " +
                  *mark->redirect + " of the layers below");
  }
  if (mark->opaque) return write_mark(join_path(at.path, layer::kOpaqueName));
  return {};
}

// An empty file, as OCI layers and AUFS mark what is deleted.
StatusOrFailure TarExtraction::write_mark(const std::string& path) {
  archive_entry_clear(entry_.get());
  archive_entry_set_mode(entry_.get(), S_IFREG | 0644);
  archive_entry_set_size(entry_.get(), 0);
  archive_entry_set_mtime(entry_.get(), 0, 0);
  return write_header(path);
}

StatusOrFailure TarExtraction::write_header(const std::string& path) {
  archive_entry_copy_pathname(entry_.get(), path.c_str());
  const int result = archive_write_header(writer_.get(), entry_.get());
  // A name that is no UTF-8 is complained of, but written as it is, with the record hdrcharset=BINARY.
  const char* why = archive_error_string(writer_.get());
  if (result == ARCHIVE_WARN && !std::string_view(why ? why : "").starts_with("Can't translate")) {
    ++summary_.losses;
    monitor_.warn(layer_.name() + ": /" + path + ": " + (why ? why : "not wholly written"));
  }
  if (result != ARCHIVE_OK && result != ARCHIVE_WARN) return writer_failure();
  return {};
}

StatusOrFailure TarExtraction::write_object(LowerId id, const std::string& path) {
  VARVE_ASSIGN(const InodeSpec spec, read_object(layer_, id, path));
  const Attributes& attributes = spec.attributes;
  if (S_ISSOCK(attributes.mode)) {
    ++summary_.losses;
    monitor_.warn(layer_.name() + ": /" + path + ": a socket, which an archive cannot hold, left out");
    return {};
  }
  archive_entry_clear(entry_.get());
  std::vector<std::string> losses;
  spec_to_entry(spec, entry_.get(), losses);
  for (const std::string& loss : losses) monitor_.warn(layer_.name() + ": /" + path + ": " + loss);
  summary_.losses += losses.size();
  if (attributes.nlink > 1 && !attributes.is_directory()) {
    const Result<std::uint64_t> number = layer_.inode_number(id);
    if (!number.ok()) return failure_from(number.error(), layer_.name() + ": /" + path);
    const auto [known, fresh] = hard_links_.emplace(*number, path);
    if (!fresh) {
      archive_entry_copy_hardlink(entry_.get(), known->second.c_str());
      archive_entry_set_size(entry_.get(), 0);
      archive_entry_xattr_clear(entry_.get());
      archive_entry_acl_clear(entry_.get());
      return write_header(path);
    }
  }
  const std::string member = path.empty() ? "./" : attributes.is_directory() ? path + "/" : path;
  if (attributes.is_regular() && attributes.size_bytes > 0)
    return write_content(id, attributes.size_bytes, member);
  return write_header(member);
}

// The sparse map goes into the header, so it is found first. The writer is handed holes as zeros and leaves
// them out.
StatusOrFailure TarExtraction::write_content(LowerId id, std::uint64_t size_bytes, const std::string& path) {
  const std::string where = layer_.name() + ": /" + path;
  const Result<std::unique_ptr<layer::LowerFile>> from = layer_.open_file(id);
  if (!from.ok()) return failure_from(from.error(), where);
  std::vector<layer::Range> ranges;
  for (std::uint64_t offset = 0; offset < size_bytes;) {
    const Result<std::optional<layer::Range>> range = (*from)->next_data(offset);
    if (!range.ok()) return failure_from(range.error(), where);
    if (!range->has_value()) break;
    ranges.push_back(**range);
    offset = (*range)->offset_bytes + (*range)->size_bytes;
  }
  const bool whole = ranges.size() == 1 && ranges[0].offset_bytes == 0 && ranges[0].size_bytes == size_bytes;
  if (!whole) {
    for (const layer::Range& range : ranges) {
      archive_entry_sparse_add_entry(entry_.get(), static_cast<la_int64_t>(range.offset_bytes),
                                     static_cast<la_int64_t>(range.size_bytes));
    }
    if (ranges.empty()) archive_entry_sparse_add_entry(entry_.get(), static_cast<la_int64_t>(size_bytes), 0);
  }
  VARVE_RETURN_IF_ERROR(write_header(path));
  std::uint64_t offset = 0;
  for (const layer::Range& range : ranges) {
    VARVE_RETURN_IF_ERROR(put_zeros(range.offset_bytes - offset));
    offset = range.offset_bytes;
    const std::uint64_t end = std::min(range.offset_bytes + range.size_bytes, size_bytes);
    while (offset < end) {
      if (monitor_.cancelled()) return cancelled_failure();
      const std::size_t want =
          static_cast<std::size_t>(std::min<std::uint64_t>(buffer_.size(), end - offset));
      const Result<std::size_t> got = (*from)->read(offset, std::span(buffer_).first(want));
      if (!got.ok()) return failure_from(got.error(), where);
      if (*got == 0) return Failure{EIO, where + ": ends before its size"};
      VARVE_RETURN_IF_ERROR(put(std::span(buffer_).first(*got)));
      offset += *got;
      monitor_.advance(*got);
    }
  }
  summary_.content_bytes += size_bytes;
  return put_zeros(size_bytes - offset);
}

StatusOrFailure TarExtraction::put(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const la_ssize_t done = archive_write_data(writer_.get(), bytes.data(), bytes.size());
    if (done <= 0) return writer_failure();
    bytes = bytes.subspan(static_cast<std::size_t>(done));
  }
  return {};
}

StatusOrFailure TarExtraction::put_zeros(std::uint64_t count) {
  while (count > 0) {
    if (monitor_.cancelled()) return cancelled_failure();
    const std::size_t now = static_cast<std::size_t>(std::min<std::uint64_t>(zeros_.size(), count));
    VARVE_RETURN_IF_ERROR(put(std::span(zeros_).first(now)));
    count -= now;
  }
  return {};
}

}  // namespace

ResultOrFailure<ExtractSummary> extract_to_tar(const layer::Layer& layer, int fd, const std::string& name,
                                               Monitor& monitor) {
  TarExtraction extraction(layer, name, monitor);
  VARVE_RETURN_IF_ERROR(extraction.run(fd));
  return extraction.summary();
}

}  // namespace varve::image
