#include "imagetool/transfer/incoming_blob.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "fs/base/unique_fd.h"
#include "imagetool/transport/image_files.h"
#include "imagetool/transport/unpacked_stream.h"

namespace varve::transfer {
namespace {

constexpr std::size_t kPieceBytes = 1 << 18;
constexpr std::size_t kHoleBytes = 1 << 16;
constexpr std::uint64_t kEmptyTarBytes = 1024;

// A new file, of which long runs of zeros take no room: a few bytes may unpack to very many of them.
class SpoolFile {
 public:
  static ResultOrFailure<SpoolFile> create(const std::string& path) {
    UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!file.valid()) return failure_from(Errno::last(), path);
    return SpoolFile(std::move(file), path);
  }
  StatusOrFailure append(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const auto piece = bytes.first(std::min(bytes.size(), kHoleBytes));
      const bool zeros =
          std::all_of(piece.begin(), piece.end(), [](std::byte b) { return b == std::byte{0}; });
      if (!zeros) VARVE_RETURN_IF_ERROR(write(piece));
      size_bytes_ += piece.size();
      bytes = bytes.subspan(piece.size());
    }
    return {};
  }
  StatusOrFailure finish(std::uint64_t least_bytes) {
    size_bytes_ = std::max(size_bytes_, least_bytes);
    if (::ftruncate(file_.get(), static_cast<off_t>(size_bytes_)) != 0)
      return failure_from(Errno::last(), path_);
    return {};
  }

 private:
  SpoolFile(UniqueFd file, std::string path) : file_(std::move(file)), path_(std::move(path)) {}
  StatusOrFailure write(std::span<const std::byte> bytes) const {
    for (std::size_t done = 0; done < bytes.size();) {
      const ssize_t put = ::pwrite(file_.get(), bytes.data() + done, bytes.size() - done,
                                   static_cast<off_t>(size_bytes_ + done));
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return failure_from(Errno::last(), path_);
      done += static_cast<std::size_t>(put);
    }
    return {};
  }

  UniqueFd file_;
  std::string path_;
  std::uint64_t size_bytes_ = 0;
};

Failure wrong_digest(const std::string& name, const std::string& expected) {
  return Failure{EBADMSG, name + ": is not what its digest " + expected +
                              " says (it was damaged on the way, or is not what it claims to be)"};
}

Failure wrong_size(const std::string& name, std::uint64_t size_bytes, const char* how) {
  return Failure{EBADMSG, name + ": has " + how + " than the " + std::to_string(size_bytes) +
                              " bytes that its descriptor says"};
}

}  // namespace

std::string layer_name(const std::string& image_name, std::size_t index) {
  return image_name + ": layer " + std::to_string(index + 1);
}

CheckedStream::CheckedStream(std::unique_ptr<transport::ByteStream> stream, image::Descriptor blob,
                             std::string name, FetchState& state)
    : stream_(std::move(stream)), blob_(std::move(blob)), name_(std::move(name)), state_(state) {}

ResultOrFailure<std::unique_ptr<CheckedStream>> CheckedStream::open(transport::ImageSource& source,
                                                                    const image::Descriptor& blob,
                                                                    std::string name, FetchState& state) {
  VARVE_ASSIGN(std::unique_ptr<transport::ByteStream> stream, source.open_blob(blob, 0));
  return std::unique_ptr<CheckedStream>(new CheckedStream(std::move(stream), blob, std::move(name), state));
}

ResultOrFailure<std::size_t> CheckedStream::read(std::span<std::byte> into) {
  if (good_) return std::size_t{0};
  if (state_.stopped()) return Failure{ECANCELED, name_ + ": interrupted"};
  VARVE_ASSIGN(const std::size_t got, stream_->read(into));
  if (got > blob_.size_bytes - size_bytes_) return wrong_size(name_, blob_.size_bytes, "more");
  if (got == 0) {
    if (size_bytes_ < blob_.size_bytes) return wrong_size(name_, blob_.size_bytes, "less");
    if (hash_.finish() != blob_.digest) return wrong_digest(name_, blob_.digest.text());
    good_ = true;
    return got;
  }
  hash_.update(into.first(got));
  size_bytes_ += got;
  state_.arrived(got);
  return got;
}

StatusOrFailure CheckedStream::drain() {
  std::vector<std::byte> piece(kPieceBytes);
  for (;;) {
    VARVE_ASSIGN(const std::size_t got, read(piece));
    if (got == 0) return {};
  }
}

StatusOrFailure check_text(std::string_view text, const image::Descriptor& descriptor,
                           const std::string& name) {
  if (text.size() != descriptor.size_bytes)
    return wrong_size(name, descriptor.size_bytes, text.size() > descriptor.size_bytes ? "more" : "less");
  if (image::Digest::of(text) != descriptor.digest) return wrong_digest(name, descriptor.digest.text());
  return {};
}

ResultOrFailure<std::string> read_blob(transport::ImageSource& source, const image::Descriptor& blob,
                                       const std::string& name) {
  FetchState state;
  VARVE_ASSIGN(const std::unique_ptr<CheckedStream> stream, CheckedStream::open(source, blob, name, state));
  return transport::read_rest(*stream, name, transport::kMostManifestBytes);
}

StatusOrFailure fetch(transport::ImageSource& source, const image::Descriptor& blob, const std::string& path,
                      const std::string& name, FetchState& state) {
  VARVE_ASSIGN(const std::unique_ptr<CheckedStream> stream, CheckedStream::open(source, blob, name, state));
  VARVE_ASSIGN(SpoolFile file, SpoolFile::create(path));
  std::vector<std::byte> piece(kPieceBytes);
  for (;;) {
    VARVE_ASSIGN(const std::size_t got, stream->read(piece));
    if (got == 0) return file.finish(0);
    VARVE_RETURN_IF_ERROR(file.append(std::span(piece).first(got)));
  }
}

StatusOrFailure fetch_unpacked(transport::ImageSource& source, const image::Descriptor& blob,
                               const std::string& diff_id, const std::string& path, const std::string& name,
                               FetchState& state) {
  VARVE_ASSIGN(const std::unique_ptr<CheckedStream> stream, CheckedStream::open(source, blob, name, state));
  VARVE_ASSIGN(SpoolFile file, SpoolFile::create(path));
  transport::UnpackedStream unpacked(*stream, name);
  image::Sha256 hash;
  std::vector<std::byte> piece(kPieceBytes);
  for (;;) {
    auto got = unpacked.read(piece);
    if (!got.ok()) {
      // Of bytes that are not even the right ones nobody needs to know why they cannot be unpacked.
      if (got.error().error_number == EINVAL) VARVE_RETURN_IF_ERROR(stream->drain());
      return std::move(got).error();
    }
    if (*got == 0) break;
    if (state.stopped()) return Failure{ECANCELED, name + ": interrupted"};
    hash.update(std::span(piece).first(*got));
    VARVE_RETURN_IF_ERROR(file.append(std::span(piece).first(*got)));
  }
  // Behind the end of what is compressed there may be more.
  VARVE_RETURN_IF_ERROR(stream->drain());
  if (hash.finish().text() != diff_id) {
    return Failure{EBADMSG, name + ": unpacked it is not what the configuration's diff_id says"};
  }
  // Of a layer without anything some make no archive at all.
  return file.finish(kEmptyTarBytes);
}

}  // namespace varve::transfer
