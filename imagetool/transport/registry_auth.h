#pragma once

// How a registry wants to be asked: the challenges of its 401 answers, and the tokens that a service gives for them.
// Source: RFC 9110 section 11.6.1; distribution docs/spec/auth/token.md and oauth.md.
// Thread rule: a RegistryAuth may be used from several threads at once.

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/mutex.h"
#include "fs/base/result.h"
#include "imagetool/transport/credential_helper.h"
#include "imagetool/transport/http_client.h"

namespace varve::transport {

// One of a WWW-Authenticate header.
struct Challenge {
  std::string scheme;                             // in lower case: "bearer", "basic"
  std::map<std::string, std::string> parameters;  // names in lower case
};
// What makes no sense is left out, and so is what follows it.
std::vector<Challenge> parse_challenges(std::string_view header);

class RegistryAuth {
 public:
  // `scopes`: "repository:NAME:pull". `client` must outlive this.
  RegistryAuth(HttpClient& client, std::optional<Credentials> credentials, std::vector<std::string> scopes)
      : client_(client), credentials_(std::move(credentials)), scopes_(std::move(scopes)) {}

  // Remembers how `answer`, a 401 of the registry, wants to be asked, and forgets a token that it did not take.
  // Returns: EACCES for a way that is not known.
  StatusOrFailure learn(const HttpResponse& answer) EXCLUDES(mutex_);
  // For the header Authorization; empty: without. Fetches a token where there is none that will hold for a while.
  // Returns: EACCES when the service gives none.
  ResultOrFailure<std::string> authorization() EXCLUDES(mutex_);
  bool has_credentials() const { return credentials_.has_value(); }

 private:
  enum class Way { kNone, kBasic, kBearer };
  using Clock = std::chrono::steady_clock;
  StatusOrFailure fetch_token() REQUIRES(mutex_);
  HttpRequest token_request() const REQUIRES(mutex_);
  StatusOrFailure take_token(const std::string& text) REQUIRES(mutex_);

  HttpClient& client_;
  const std::optional<Credentials> credentials_;
  const std::vector<std::string> scopes_;

  Mutex mutex_;  // held while a token is fetched: the others wait for the same one
  Way way_ GUARDED_BY(mutex_) = Way::kNone;
  std::optional<HttpUrl> realm_ GUARDED_BY(mutex_);
  std::string service_ GUARDED_BY(mutex_);
  std::string token_ GUARDED_BY(mutex_);
  Clock::time_point token_end_ GUARDED_BY(mutex_);
};

// What an answer that is no success says of itself: "404 (MANIFEST_UNKNOWN: manifest unknown)", from the errors of the
// distribution-spec where there are any. Reads its body.
std::string status_text(HttpResponse& response);
// The errno for it: EACCES, ENOENT, EAGAIN (429), EIO.
int status_errno(int status);

}  // namespace varve::transport
