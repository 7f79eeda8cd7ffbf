#include "imagetool/transport/unpacked_stream.h"

#include <archive.h>
#include <archive_entry.h>

namespace varve::transport {
namespace {

constexpr std::size_t kReadBytes = 1 << 18;

}  // namespace

void CloseReader::operator()(archive* open) const {
  archive_free(open);
}

UnpackedStream::UnpackedStream(ByteStream& packed, std::string name)
    : packed_(packed), name_(std::move(name)), buffer_(kReadBytes) {}

ssize_t UnpackedStream::on_read(archive* reader, void* self, const void** buffer) {
  UnpackedStream& stream = *static_cast<UnpackedStream*>(self);
  auto got = stream.packed_.read(stream.buffer_);
  *buffer = stream.buffer_.data();
  if (got.ok()) return static_cast<ssize_t>(*got);
  stream.failed_ = std::move(got).error();
  archive_set_error(reader, EIO, "cannot be read");
  return ARCHIVE_FATAL;
}

Failure UnpackedStream::failure() {
  if (failed_) return *failed_;
  const char* why = archive_error_string(reader_.get());
  return Failure{EINVAL, name_ + ": cannot be unpacked: " + (why != nullptr ? why : "unknown error")};
}

StatusOrFailure UnpackedStream::start() {
  reader_.reset(archive_read_new());
  if (!reader_) return Failure{ENOMEM, name_ + ": out of memory"};
  // Named one by one: "all" would run programs to decompress what somebody else sent.
  archive_read_support_filter_gzip(reader_.get());
  archive_read_support_filter_zstd(reader_.get());
  archive_read_support_filter_bzip2(reader_.get());
  archive_read_support_filter_xz(reader_.get());
  archive_read_support_format_raw(reader_.get());
  archive_read_support_format_empty(reader_.get());
  archive_entry* entry = nullptr;
  if (archive_read_open(reader_.get(), this, nullptr, &UnpackedStream::on_read, nullptr) != ARCHIVE_OK)
    return failure();
  const int result = archive_read_next_header(reader_.get(), &entry);
  if (result == ARCHIVE_EOF) {
    ended_ = true;
  } else if (result != ARCHIVE_OK && result != ARCHIVE_WARN) {
    return failure();
  }
  return {};
}

ResultOrFailure<std::size_t> UnpackedStream::read(std::span<std::byte> into) {
  if (!reader_) VARVE_RETURN_IF_ERROR(start());
  if (ended_) return std::size_t{0};
  for (;;) {
    const la_ssize_t got = archive_read_data(reader_.get(), into.data(), into.size());
    if (got == ARCHIVE_RETRY) continue;
    if (got < 0) return failure();
    ended_ = got == 0;
    return static_cast<std::size_t>(got);
  }
}

}  // namespace varve::transport
