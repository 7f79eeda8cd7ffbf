#include "imagetool/transport/registry_destination.h"

#include <set>

namespace varve::transport {
namespace {

constexpr auto kSmallTimeout = std::chrono::seconds(120);
constexpr int kMostUploads = 3;  // of one blob that is kept

// A ByteStream that is checked on its way: its digest, and its size to the byte.
class CheckedStream : public ByteStream {
 public:
  CheckedStream(ByteStream& bytes, const image::Descriptor& blob) : bytes_(bytes), blob_(blob) {}

  ResultOrFailure<std::size_t> read(std::span<std::byte> into) override {
    VARVE_ASSIGN(const std::size_t count, bytes_.read(into));
    hash_.update(into.first(count));
    read_bytes_ += count;
    if (read_bytes_ > blob_.size_bytes || (count == 0 && read_bytes_ < blob_.size_bytes))
      return wrong("size");
    // Before the last byte goes out, so that a wrong blob is never whole at the registry.
    if (read_bytes_ == blob_.size_bytes && !checked_) {
      checked_ = true;
      if (hash_.finish() != blob_.digest) return wrong("digest");
    }
    return count;
  }

 private:
  Failure wrong(const char* what) const {
    return Failure{EBADMSG, "blob " + blob_.digest.short_hex() + ": not of its " + what +
                                " (imagetool verify tells more)"};
  }
  ByteStream& bytes_;
  const image::Descriptor& blob_;
  image::Sha256 hash_;
  std::uint64_t read_bytes_ = 0;
  bool checked_ = false;
};

ResultOrFailure<std::string> read_whole(ByteStream& bytes, std::uint64_t size_bytes) {
  std::string text(size_bytes, '\0');
  std::size_t have = 0;
  while (have < text.size()) {
    VARVE_ASSIGN(const std::size_t count, bytes.read(std::as_writable_bytes(std::span(text).subspan(have))));
    have += count;
  }
  return text;
}

bool is_good(const HttpResponse& response) {
  return response.status() >= 200 && response.status() <= 299;
}

}  // namespace

ResultOrFailure<std::unique_ptr<RegistryDestination>> RegistryDestination::open(
    const RegistryName& name, Elsewhere elsewhere, const RegistryOptions& options) {
  if (name.digest) return Failure{EINVAL, name.text() + ": images are pushed by tag, not by digest"};
  std::set<std::string> others;
  for (const auto& [digest, repository] : elsewhere) {
    if (repository != name.repository) others.insert(repository);
  }
  VARVE_ASSIGN(std::unique_ptr<RegistryClient> client,
               RegistryClient::connect(name, "pull,push", {others.begin(), others.end()}, options));
  return std::unique_ptr<RegistryDestination>(
      new RegistryDestination(std::move(client), std::move(elsewhere)));
}

ResultOrFailure<bool> RegistryDestination::has_blob(const image::Descriptor& blob) {
  VARVE_ASSIGN(HttpUrl url, client_->url("blobs/" + blob.digest.text()));
  VARVE_ASSIGN(const std::unique_ptr<HttpResponse> response,
               client_->send({.method = "HEAD", .url = std::move(url), .whole_timeout = kSmallTimeout}));
  if (response->status() == 200) return true;
  if (response->status() == 404) return false;
  return client_->refusal("whether it has blob " + blob.digest.short_hex(), *response);
}

ResultOrFailure<HttpUrl> RegistryDestination::next_location(const HttpResponse& response) const {
  const std::string location = response.header("location");
  if (location.empty())
    return Failure{EPROTO, text_ + ": the registry does not say where the upload goes on"};
  VARVE_ASSIGN(HttpUrl next, response.url().resolve(location));
  if (response.url().is_https() && !next.is_https()) {
    return Failure{EACCES, text_ + ": the upload is to go on without TLS, which is refused"};
  }
  return next;
}

ResultOrFailure<std::optional<HttpUrl>> RegistryDestination::begin_upload(const image::Descriptor& blob) {
  VARVE_ASSIGN(HttpUrl url, client_->url("blobs/uploads/"));
  if (const auto there = elsewhere_.find(blob.digest.text());
      there != elsewhere_.end() && there->second != client_->name().repository) {
    url = url.with_query("mount", blob.digest.text()).with_query("from", there->second);
  }
  VARVE_ASSIGN(const std::unique_ptr<HttpResponse> response,
               client_->send({.method = "POST", .url = std::move(url), .whole_timeout = kSmallTimeout}));
  if (response->status() == 201) return std::optional<HttpUrl>();
  if (response->status() != 202) return client_->refusal("an upload", *response);
  VARVE_ASSIGN(HttpUrl next, next_location(*response));
  return std::optional<HttpUrl>(std::move(next));
}

StatusOrFailure RegistryDestination::send_blob(const image::Descriptor& blob, ByteStream* stream,
                                               const std::string& text) {
  VARVE_ASSIGN(std::optional<HttpUrl> place, begin_upload(blob));
  if (!place) return {};
  const std::string doing = "uploading blob " + blob.digest.short_hex();
  // Once: a registry that has a part of it goes on from there only.
  VARVE_ASSIGN(const std::unique_ptr<HttpResponse> sent,
               client_->send({.method = "PATCH",
                              .url = std::move(*place),
                              .headers = {"Content-Type: application/octet-stream"},
                              .once = true,
                              .body = text,
                              .stream = stream,
                              .stream_bytes = blob.size_bytes}));
  if (!is_good(*sent)) return client_->refusal(doing, *sent);
  VARVE_ASSIGN(HttpUrl last, next_location(*sent));
  VARVE_ASSIGN(const std::unique_ptr<HttpResponse> finished,
               client_->send({.method = "PUT",
                              .url = last.with_query("digest", blob.digest.text()),
                              .headers = {"Content-Type: application/octet-stream"}}));
  if (!is_good(*finished)) return client_->refusal(doing, *finished);
  return {};
}

StatusOrFailure RegistryDestination::put_blob(const image::Descriptor& blob, ByteStream& bytes) {
  CheckedStream checked(bytes, blob);
  if (blob.size_bytes > kMostKeptBytes) return send_blob(blob, &checked, "");
  VARVE_ASSIGN(const std::string text, read_whole(checked, blob.size_bytes));
  for (int attempt = 1;; ++attempt) {
    const StatusOrFailure sent = send_blob(blob, nullptr, text);
    const bool broken =
        !sent.ok() && (sent.error().error_number == EIO || sent.error().error_number == ETIMEDOUT);
    if (!broken || attempt == kMostUploads) return sent;
  }
}

StatusOrFailure RegistryDestination::put_manifest(const ManifestText& manifest) {
  VARVE_ASSIGN(HttpUrl url, client_->url("manifests/" + client_->name().reference()));
  VARVE_ASSIGN(const std::unique_ptr<HttpResponse> response,
               client_->send({.method = "PUT",
                              .url = std::move(url),
                              .headers = {"Content-Type: " + manifest.media_type},
                              .body = manifest.bytes}));
  if (!is_good(*response)) return client_->refusal("putting its manifest", *response);
  return {};
}

}  // namespace varve::transport
