#include "imagetool/transport/registry_client.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>

#include "imagetool/image/store/atomic_file.h"
#include "imagetool/transport/registry_credentials.h"

namespace varve::transport {
namespace {

constexpr std::uint64_t kMostCertificateBytes = 1 << 20;
constexpr auto kPingTimeout = std::chrono::seconds(60);

// Sorted names of the files of `directory`. Returns: ENOENT and others.
Result<std::vector<std::string>> names_in(const std::string& directory) {
  DIR* stream = ::opendir(directory.c_str());
  if (!stream) return Errno::last();
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(stream)) names.emplace_back(entry->d_name);
  ::closedir(stream);
  std::sort(names.begin(), names.end());
  return names;
}

std::string certificate_directory(const std::string& given, const std::string& registry) {
  if (!given.empty()) return given;
  for (const char* usual : {"/etc/containers/certs.d/", "/etc/docker/certs.d/"}) {
    struct stat status {};
    const std::string directory = usual + registry;
    if (::stat(directory.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) return directory;
  }
  return "";
}

// As containers-certs.d(5) has it.
StatusOrFailure read_certificates(const std::string& directory, HttpOptions& http) {
  if (directory.empty()) return {};
  const auto names = names_in(directory);
  if (!names.ok()) return failure_from(names.error(), directory);
  const auto read = [&](const std::string& name) -> ResultOrFailure<std::string> {
    const Result<std::string> text = image::read_small_file(directory + "/" + name, kMostCertificateBytes);
    if (!text.ok()) return failure_from(text.error(), directory + "/" + name);
    return *text;
  };
  for (const std::string& name : *names) {
    if (name.ends_with(".crt")) {
      VARVE_ASSIGN(const std::string text, read(name));
      http.more_authorities += text + "\n";
    } else if (name.ends_with(".cert") && http.client_certificate.empty()) {
      VARVE_ASSIGN(http.client_certificate, read(name));
      VARVE_ASSIGN(http.client_key, read(name.substr(0, name.size() - 4) + "key"));
    }
  }
  return {};
}

}  // namespace

RegistryClient::RegistryClient(RegistryName name, HttpOptions http, std::optional<Credentials> credentials,
                               std::vector<std::string> scopes)
    : name_(std::move(name)),
      http_(std::move(http)),
      auth_(http_, std::move(credentials), std::move(scopes)) {}

ResultOrFailure<std::unique_ptr<RegistryClient>> RegistryClient::connect(
    const RegistryName& name, const std::string& actions, const std::vector<std::string>& others,
    const RegistryOptions& options) {
  HttpOptions http = options.http;
  http.verify = options.tls_verify;
  VARVE_ASSIGN(const HttpUrl secure, HttpUrl::parse("https://" + name.http_host() + "/v2/"));
  http.client_origin = secure.origin();
  VARVE_RETURN_IF_ERROR(read_certificates(certificate_directory(options.cert_dir, name.registry), http));
  std::optional<Credentials> credentials = options.credentials;
  if (!credentials) {
    VARVE_ASSIGN(credentials, find_credentials(auth_files(options.auth_file), name));
  }
  std::vector<std::string> scopes = {"repository:" + name.repository + ":" + actions};
  for (const std::string& other : others) scopes.push_back("repository:" + other + ":pull");
  std::unique_ptr<RegistryClient> client(
      new RegistryClient(name, std::move(http), std::move(credentials), std::move(scopes)));
  const StatusOrFailure pinged = client->ping(secure.text());
  if (pinged.ok()) return client;
  // A registry without TLS answers in no TLS, or not where TLS would be. This machine's may be one without being asked for
  // it, as for docker.
  const bool may_be_plain = !options.tls_verify || secure.is_loopback();
  const int why = pinged.error().error_number;
  if (!may_be_plain || (why != EPROTO && why != ECONNREFUSED)) {
    return Failure{pinged.error().error_number, name.registry + ": " + pinged.error().message};
  }
  const StatusOrFailure plain = client->ping("http://" + name.http_host() + "/v2/");
  if (!plain.ok()) return Failure{plain.error().error_number, name.registry + ": " + plain.error().message};
  return client;
}

StatusOrFailure RegistryClient::ping(const std::string& base) {
  VARVE_ASSIGN(HttpUrl url, HttpUrl::parse(base));
  VARVE_ASSIGN(const std::unique_ptr<HttpResponse> response,
               http_.send({.url = url, .whole_timeout = kPingTimeout}));
  const int status = response->status();
  if (status == 401) {
    VARVE_RETURN_IF_ERROR(auth_.learn(*response));
  } else if (status < 200 || status > 299) {
    return Failure{status_errno(status), "no registry that speaks the OCI distribution protocol (GET /v2/: " +
                                             status_text(*response) + ")"};
  }
  base_ = std::move(url);
  return {};
}

ResultOrFailure<HttpUrl> RegistryClient::url(const std::string& path) const {
  return base_->resolve(name_.repository + "/" + path);
}

ResultOrFailure<std::unique_ptr<HttpResponse>> RegistryClient::send(HttpRequest request) {
  const bool ours = request.url.origin() == base_->origin();
  if (!ours) return http_.send(request);
  VARVE_ASSIGN(request.authorization, auth_.authorization());
  VARVE_ASSIGN(std::unique_ptr<HttpResponse> response, http_.send(request));
  const bool asks = response->status() == 401 && response->url().origin() == base_->origin();
  if (!asks || (request.stream && !response->body_untouched() && !request.stream->rewind().ok()))
    return response;
  VARVE_RETURN_IF_ERROR(auth_.learn(*response));
  VARVE_ASSIGN(std::string authorization, auth_.authorization());
  // The same again would be refused again.
  if (authorization.empty() || authorization == request.authorization) return response;
  request.authorization = std::move(authorization);
  return http_.send(request);
}

Failure RegistryClient::refusal(const std::string& doing, HttpResponse& response) const {
  const int status = response.status();
  std::string text = name_.text() + ": " + doing + ": " + status_text(response);
  if (status == 401 || status == 403) {
    text += auth_.has_credentials() ? " (these credentials do not allow it)"
                                    : " (log in with podman login or docker login, or give --creds)";
  }
  return Failure{status_errno(status), std::move(text)};
}

}  // namespace varve::transport
