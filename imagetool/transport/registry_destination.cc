#include "imagetool/transport/registry_destination.h"

#include <set>

namespace varve::transport {
namespace {

constexpr auto kSmallTimeout = std::chrono::seconds(120);

// A ByteStream that is checked on its way: its digest, and its size to the byte.
class CheckedStream : public ByteStream {
 public:
  CheckedStream(ByteStream& bytes, const image::Descriptor& blob) : bytes_(bytes), blob_(blob) {}

  ResultOrFailure<std::size_t> read(std::span<std::byte> into) override {
    VARVE_ASSIGN(const std::size_t count, bytes_.read(into));
    hash_->update(into.first(count));
    read_bytes_ += count;
    if (read_bytes_ > blob_.size_bytes || (count == 0 && read_bytes_ < blob_.size_bytes))
      return wrong("size");
    // Before the last byte goes out, so that a wrong blob is never whole at the registry.
    if (read_bytes_ == blob_.size_bytes && !checked_) {
      checked_ = true;
      if (hash_->finish() != blob_.digest) return wrong("digest");
    }
    return count;
  }
  StatusOrFailure rewind() override {
    VARVE_RETURN_IF_ERROR(bytes_.rewind());
    hash_.emplace();
    read_bytes_ = 0;
    checked_ = false;
    return {};
  }

 private:
  Failure wrong(const char* what) const {
    return Failure{EBADMSG, "blob " + blob_.digest.short_hex() + ": not of its " + what +
                                " (imagetool verify tells more)"};
  }
  ByteStream& bytes_;
  const image::Descriptor& blob_;
  std::optional<image::Sha256> hash_{std::in_place};
  std::uint64_t read_bytes_ = 0;
  bool checked_ = false;
};

// Whether the same may go well a little later.
bool is_passing(const StatusOrFailure& sent) {
  if (sent.ok()) return false;
  const int why = sent.error().error_number;
  return why == EIO || why == ETIMEDOUT || why == EAGAIN;
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

StatusOrFailure RegistryDestination::send_blob(const image::Descriptor& blob, ByteStream& bytes) {
  VARVE_ASSIGN(std::optional<HttpUrl> place, begin_upload(blob));
  if (!place) return {};
  const std::string doing = "uploading blob " + blob.digest.short_hex();
  // Once: a registry that has a part of it goes on from there only.
  VARVE_ASSIGN(const std::unique_ptr<HttpResponse> sent,
               client_->send({.method = "PATCH",
                              .url = std::move(*place),
                              .headers = {"Content-Type: application/octet-stream"},
                              .once = true,
                              .stream = &bytes,
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
  for (int attempt = 1;; ++attempt) {
    StatusOrFailure sent = send_blob(blob, checked);
    if (!is_passing(sent)) return sent;
    if (attempt == kMostUploads || !checked.rewind().ok()) {
      return Failure{sent.error().error_number,
                     sent.error().message + " (begun " + std::to_string(attempt) + " times)"};
    }
    VARVE_RETURN_IF_ERROR(client_->wait_before(attempt + 1));
    // Perhaps only the answer was lost.
    if (const auto there = has_blob(blob); there.ok() && *there) return {};
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
