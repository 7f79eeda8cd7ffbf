#pragma once

// RegistryClient: one repository of a registry: where its HTTP is, with TLS or without, and what it wants to be shown.
// Source: distribution-spec "Determining Support"; containers/image docker/docker_client.go.
// Thread rule: may be used from several threads at once. Responses may outlive it.

#include <memory>
#include <string>
#include <vector>

#include "fs/base/result.h"
#include "imagetool/transport/http_client.h"
#include "imagetool/transport/registry_auth.h"
#include "imagetool/transport/registry_name.h"

namespace varve::transport {

struct RegistryOptions {
  // --tls-verify=false: any certificate is good, and where there is no TLS, plain http.
  bool tls_verify = true;
  // Holds *.crt (authorities besides the system's), and NAME.cert with NAME.key. Empty: /etc/containers/certs.d/HOST,
  // else /etc/docker/certs.d/HOST, where there is one.
  std::string cert_dir;
  std::string auth_file;                   // in place of the usual ones
  std::optional<Credentials> credentials;  // in place of all files
  HttpOptions http;  // times, and what asks whether to stop; the rest is filled in from the above
};

class RegistryClient {
 public:
  // `actions`: "pull" or "pull,push". `others`: repositories of the same registry, to be read from, too.
  // Returns: a Failure that names the registry.
  static ResultOrFailure<std::unique_ptr<RegistryClient>> connect(const RegistryName& name,
                                                                  const std::string& actions,
                                                                  const std::vector<std::string>& others,
                                                                  const RegistryOptions& options);

  const RegistryName& name() const { return name_; }
  // Of what is at `path` beneath "/v2/REPOSITORY/".
  ResultOrFailure<HttpUrl> url(const std::string& path) const;
  // HttpClient::send(), with what the registry wants to be shown when `request` goes to it; a 401 is answered once with
  // what it asks for. Other answers are returned as they are.
  ResultOrFailure<std::unique_ptr<HttpResponse>> send(HttpRequest request);
  StatusOrFailure wait_before(int attempt) const { return http_.wait_before(attempt); }
  // "registry.example/app:1: DOING: 404 (CODE: what the registry says)".
  Failure refusal(const std::string& doing, HttpResponse& response) const;

 private:
  RegistryClient(RegistryName name, HttpOptions http, std::optional<Credentials> credentials,
                 std::vector<std::string> scopes);
  // Asks whether there is a registry, and how it wants to be asked.
  StatusOrFailure ping(const std::string& base);

  RegistryName name_;
  HttpClient http_;
  RegistryAuth auth_;
  std::optional<HttpUrl> base_;  // ".../v2/"
};

}  // namespace varve::transport
