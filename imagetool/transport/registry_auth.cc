#include "imagetool/transport/registry_auth.h"

#include <algorithm>

#include "imagetool/image/store/json_text.h"
#include "imagetool/transport/registry_credentials.h"

namespace varve::transport {
namespace {

constexpr std::uint64_t kMostAnswerBytes = 1 << 20;
constexpr std::uint64_t kMostErrorBytes = 64 << 10;
constexpr std::size_t kMostTokenBytes = 32 << 10;
constexpr std::uint64_t kDefaultLifeSeconds = 60;  // token.md
constexpr auto kSafety = std::chrono::seconds(10);
constexpr auto kTokenTimeout = std::chrono::seconds(60);

bool is_token_character(char c) {  // of RFC 9110 section 5.6.2
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return result;
}

// Reads a WWW-Authenticate header from its begin.
class ChallengeReader {
 public:
  explicit ChallengeReader(std::string_view text) : text_(text) {}

  void skip(std::string_view characters) {
    while (!text_.empty() && characters.find(text_.front()) != std::string_view::npos) text_.remove_prefix(1);
  }
  bool done() const { return text_.empty(); }
  bool take(char c) {
    if (text_.empty() || text_.front() != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  std::string word() {
    const auto end = std::find_if_not(text_.begin(), text_.end(), is_token_character);
    std::string word(text_.begin(), end);
    text_.remove_prefix(word.size());
    return word;
  }
  std::optional<std::string> value() {
    if (!take('"')) return word();
    std::string value;
    while (!text_.empty() && text_.front() != '"') {
      if (text_.front() == '\\') text_.remove_prefix(1);
      if (text_.empty()) return std::nullopt;
      value += text_.front();
      text_.remove_prefix(1);
    }
    if (!take('"')) return std::nullopt;
    return value;
  }

 private:
  std::string_view text_;
};

// Whether it may stand in a header.
bool is_usable_token(const std::string& token) {
  return !token.empty() && token.size() <= kMostTokenBytes &&
         std::all_of(token.begin(), token.end(), [](char c) { return c > ' ' && c <= '~'; });
}

std::string basic_of(const Credentials& credentials) {
  return "Basic " + base64_encoded(credentials.user + ":" + credentials.password);
}

}  // namespace

std::vector<Challenge> parse_challenges(std::string_view header) {
  std::vector<Challenge> challenges;
  ChallengeReader reader(header);
  for (;;) {
    reader.skip(" \t,");
    if (reader.done()) return challenges;
    const std::string word = reader.word();
    if (word.empty()) return challenges;
    reader.skip(" \t");
    if (!reader.take('=')) {
      challenges.push_back({.scheme = lower(word)});
      continue;
    }
    reader.skip(" \t");
    std::optional<std::string> value = reader.value();
    if (!value || challenges.empty()) return challenges;
    challenges.back().parameters[lower(word)] = std::move(*value);
  }
}

StatusOrFailure RegistryAuth::learn(const HttpResponse& answer) {
  std::vector<Challenge> challenges;
  for (const std::string& header : answer.headers("www-authenticate")) {
    for (Challenge& challenge : parse_challenges(header)) challenges.push_back(std::move(challenge));
  }
  const auto find = [&](std::string_view scheme) {
    return std::find_if(challenges.begin(), challenges.end(),
                        [&](const Challenge& challenge) { return challenge.scheme == scheme; });
  };
  const std::string where = answer.url().origin();
  const MutexLock lock(mutex_);
  token_.clear();
  if (const auto bearer = find("bearer"); bearer != challenges.end()) {
    const auto realm = bearer->parameters.find("realm");
    if (realm == bearer->parameters.end())
      return Failure{EACCES, where + ": wants a token, but does not say from where"};
    auto url = HttpUrl::parse(realm->second);
    if (!url.ok()) return Failure{EACCES, where + ": wants a token of " + url.error().message};
    if (answer.url().is_https() && !url->is_https()) {
      return Failure{EACCES, where + ": wants a token of " + url->shown() +
                                 ", to be asked for without TLS, which is refused"};
    }
    realm_ = std::move(url).value();
    const auto service = bearer->parameters.find("service");
    service_ = service == bearer->parameters.end() ? "" : service->second;
    way_ = Way::kBearer;
    return {};
  }
  if (find("basic") != challenges.end()) {
    way_ = Way::kBasic;
    return {};
  }
  return Failure{EACCES,
                 where + ": wants to be asked in a way that is not known here (neither Bearer nor Basic)"};
}

ResultOrFailure<std::string> RegistryAuth::authorization() {
  const MutexLock lock(mutex_);
  switch (way_) {
    case Way::kNone:
      return std::string();
    case Way::kBasic:
      return credentials_ && credentials_->identity_token.empty() ? basic_of(*credentials_) : std::string();
    case Way::kBearer:
      break;
  }
  if (token_.empty() || Clock::now() >= token_end_) VARVE_RETURN_IF_ERROR(fetch_token());
  return "Bearer " + token_;
}

HttpRequest RegistryAuth::token_request() const {
  HttpRequest request{.url = *realm_, .whole_timeout = kTokenTimeout};
  if (credentials_ && !credentials_->identity_token.empty()) {
    std::string scope;
    for (const std::string& one : scopes_) scope += (scope.empty() ? "" : " ") + one;
    request.method = "POST";
    request.headers = {"Content-Type: application/x-www-form-urlencoded"};
    request.body = "grant_type=refresh_token&client_id=varve&service=" + percent_encoded(service_) +
                   "&scope=" + percent_encoded(scope) +
                   "&refresh_token=" + percent_encoded(credentials_->identity_token);
    return request;
  }
  if (!service_.empty()) request.url = request.url.with_query("service", service_);
  for (const std::string& scope : scopes_) request.url = request.url.with_query("scope", scope);
  if (credentials_) {
    request.url = request.url.with_query("account", credentials_->user);
    request.authorization = basic_of(*credentials_);
  }
  return request;
}

StatusOrFailure RegistryAuth::fetch_token() {
  VARVE_ASSIGN(const std::unique_ptr<HttpResponse> response, client_.send(token_request()));
  if (response->status() != 200) {
    return Failure{EACCES,
                   realm_->shown() + " gives no token: " + status_text(*response) +
                       (credentials_ ? "" : " (log in with podman login or docker login, or give --creds)")};
  }
  VARVE_ASSIGN(const std::string text, response->read_all(kMostAnswerBytes));
  return take_token(text);
}

StatusOrFailure RegistryAuth::take_token(const std::string& text) {
  const std::string where = realm_->shown() + ": its token";
  auto json = image::parse_json_object(text);
  if (!json.ok()) return Failure{EACCES, where + ": " + json.error().message};
  std::string token;
  std::string access_token;
  std::uint64_t seconds = kDefaultLifeSeconds;
  image::JsonReader reader(*json, where);
  reader.read("token", token);
  reader.read("access_token", access_token);
  reader.read("expires_in", seconds, std::uint64_t{1} << 31);
  VARVE_RETURN_IF_ERROR(reader.status());
  if (token.empty()) token = std::move(access_token);
  if (!is_usable_token(token)) return Failure{EACCES, where + " is none"};
  token_ = std::move(token);
  token_end_ =
      Clock::now() + std::max<std::chrono::seconds>(std::chrono::seconds(seconds) - kSafety, kSafety);
  return {};
}

std::string status_text(HttpResponse& response) {
  std::string text = std::to_string(response.status());
  const auto body = response.read_all(kMostErrorBytes);
  if (!body.ok()) return text;
  const auto json = image::parse_json_object(*body);
  if (!json.ok()) return text;
  const auto errors = json->find("errors");
  if (errors == json->end() || !errors->is_array() || errors->empty()) return text;
  std::string code;
  std::string message;
  image::JsonReader reader(errors->front(), "");
  reader.read("code", code);
  reader.read("message", message);
  return text + " (" + shown_text(code) + (message.empty() ? "" : ": " + shown_text(message)) + ")";
}

int status_errno(int status) {
  if (status == 401 || status == 403) return EACCES;
  if (status == 404) return ENOENT;
  return status == 429 ? EAGAIN : EIO;
}

}  // namespace varve::transport
