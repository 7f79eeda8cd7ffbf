#include "imagetool/transport/registry_source.h"

#include <array>
#include <utility>

#include "imagetool/transport/resuming_stream.h"

namespace varve::transport {
namespace {

constexpr auto kManifestTimeout = std::chrono::seconds(120);

// What is understood of registries that would convert for others.
constexpr std::array<const char*, 4> kManifestTypes = {
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
};

// Where the body of `response` begins, which was asked for at `offset_bytes`: there (206), or at 0 (200).
// Returns: EBADMSG for another part.
ResultOrFailure<std::uint64_t> first_byte(const HttpResponse& response, std::uint64_t offset_bytes) {
  if (response.status() == 200) return std::uint64_t{0};
  const std::string range = response.header("content-range");
  if (range.starts_with("bytes " + std::to_string(offset_bytes) + "-")) return offset_bytes;
  return Failure{EBADMSG,
                 response.url().shown() + ": another part than was asked for (" + shown_text(range) + ")"};
}

StatusOrFailure skip(HttpResponse& response, std::uint64_t bytes) {
  std::vector<std::byte> piece(64 << 10);
  while (bytes > 0) {
    VARVE_ASSIGN(const std::size_t count,
                 response.read(std::span(piece).first(std::min<std::uint64_t>(piece.size(), bytes))));
    if (count == 0) return Failure{EBADMSG, response.url().shown() + ": shorter than it was before"};
    bytes -= count;
  }
  return {};
}

// The end of a body of which the answer does not say where it ends is an end when enough came, else a break.
class BlobStream : public ByteStream {
 public:
  BlobStream(std::unique_ptr<HttpResponse> response, std::uint64_t expected_bytes)
      : response_(std::move(response)), left_bytes_(expected_bytes) {}
  ResultOrFailure<std::size_t> read(std::span<std::byte> into) override {
    VARVE_ASSIGN(const std::size_t count, response_->read(into));
    if (count == 0 && left_bytes_ > 0 && !response_->end_is_told()) {
      return Failure{EIO, response_->url().shown() + ": the connection ended early"};
    }
    left_bytes_ -= std::min<std::uint64_t>(left_bytes_, count);
    return count;
  }

 private:
  std::unique_ptr<HttpResponse> response_;
  std::uint64_t left_bytes_;  // that are to come as the descriptor has it
};

}  // namespace

ResultOrFailure<std::unique_ptr<RegistrySource>> RegistrySource::open(const RegistryName& name,
                                                                      const RegistryOptions& options) {
  VARVE_ASSIGN(std::unique_ptr<RegistryClient> client, RegistryClient::connect(name, "pull", {}, options));
  return std::unique_ptr<RegistrySource>(new RegistrySource(std::move(client)));
}

ResultOrFailure<ManifestText> RegistrySource::fetch_manifest(const std::string& reference) {
  VARVE_ASSIGN(HttpUrl url, client_->url("manifests/" + reference));
  HttpRequest request{.url = std::move(url), .whole_timeout = kManifestTimeout};
  for (const char* type : kManifestTypes) request.headers.push_back(std::string("Accept: ") + type);
  VARVE_ASSIGN(const std::unique_ptr<HttpResponse> response, client_->send(std::move(request)));
  if (response->status() != 200) return client_->refusal("its manifest", *response);
  VARVE_ASSIGN(std::string bytes, response->read_all(kMostManifestBytes));
  std::string type = response->header("content-type");
  type.resize(std::min(type.size(), type.find_first_of("; ")));
  return ManifestText{std::move(type), std::move(bytes)};
}

ResultOrFailure<ManifestText> RegistrySource::manifest() {
  const RegistryName& wanted = client_->name();
  VARVE_ASSIGN(ManifestText manifest, fetch_manifest(wanted.reference()));
  const image::Digest digest = image::Digest::of(manifest.bytes);
  // Nobody else knows which digest was asked for.
  if (wanted.digest && digest != *wanted.digest) {
    return Failure{EBADMSG, text_ + ": the registry gave another manifest than the one with this digest"};
  }
  manifest_digest_ = digest.text();
  return manifest;
}

ResultOrFailure<ManifestText> RegistrySource::manifest_of(const image::Digest& digest) {
  return fetch_manifest(digest.text());
}

ResultOrFailure<std::unique_ptr<ByteStream>> RegistrySource::open_once(const image::Descriptor& blob,
                                                                       std::uint64_t offset_bytes) {
  VARVE_ASSIGN(HttpUrl url, client_->url("blobs/" + blob.digest.text()));
  HttpRequest request{.url = std::move(url)};
  if (offset_bytes > 0) request.headers.push_back("Range: bytes=" + std::to_string(offset_bytes) + "-");
  VARVE_ASSIGN(std::unique_ptr<HttpResponse> response, client_->send(std::move(request)));
  const int status = response->status();
  if (status != 200 && (status != 206 || offset_bytes == 0)) {
    return client_->refusal("blob " + blob.digest.short_hex(), *response);
  }
  VARVE_ASSIGN(const std::uint64_t begin, first_byte(*response, offset_bytes));
  VARVE_RETURN_IF_ERROR(skip(*response, offset_bytes - begin));
  return std::unique_ptr<ByteStream>(std::make_unique<BlobStream>(
      std::move(response), blob.size_bytes - std::min(blob.size_bytes, offset_bytes)));
}

ResultOrFailure<std::unique_ptr<ByteStream>> RegistrySource::open_blob(const image::Descriptor& blob,
                                                                       std::uint64_t offset_bytes) {
  return ResumingStream::open([this, blob](std::uint64_t offset) { return open_once(blob, offset); },
                              offset_bytes);
}

}  // namespace varve::transport
