#include "imagetool/transport/http_client.h"

#include <algorithm>
#include <charconv>
#include <thread>

#include "imagetool/transport/http_transfer.h"

namespace varve::transport {
namespace {

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// Whether the same may go well a little later.
bool is_passing(int status) {
  return status == 429 || status == 500 || status == 502 || status == 503 || status == 504;
}
bool is_passing(const Failure& failure) {
  return failure.error_number == EIO || failure.error_number == ETIMEDOUT;
}

// Retry-After in seconds (RFC 9110 section 10.2.3; a date, its other form, is taken as none).
std::optional<std::chrono::milliseconds> asked_delay(const HttpResponse& response) {
  const std::string text = response.header("retry-after");
  unsigned seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (text.empty() || error == std::errc::invalid_argument || end != text.data() + text.size())
    return std::nullopt;
  if (error == std::errc::result_out_of_range) return kMostDelay;
  return std::min<std::chrono::milliseconds>(std::chrono::seconds(seconds), kMostDelay);
}

}  // namespace

HttpResponse::HttpResponse(std::unique_ptr<HttpTransfer> transfer) : transfer_(std::move(transfer)) {}
HttpResponse::~HttpResponse() = default;

int HttpResponse::status() const {
  return transfer_->status();
}

std::vector<std::string> HttpResponse::headers(std::string_view name) const {
  std::vector<std::string> values;
  for (const auto& [key, value] : transfer_->headers()) {
    if (std::equal(key.begin(), key.end(), name.begin(), name.end(),
                   [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? b - 'A' + 'a' : b); })) {
      values.push_back(value);
    }
  }
  return values;
}

std::string HttpResponse::header(std::string_view name) const {
  const std::vector<std::string> values = headers(name);
  return values.empty() ? "" : values.front();
}

const HttpUrl& HttpResponse::url() const {
  return transfer_->url();
}

bool HttpResponse::end_is_told() const {
  return !header("content-length").empty() || !header("transfer-encoding").empty();
}

bool HttpResponse::body_untouched() const {
  return transfer_->body_untouched();
}

ResultOrFailure<std::size_t> HttpResponse::read(std::span<std::byte> into) {
  return transfer_->read(into);
}

ResultOrFailure<std::string> HttpResponse::read_all(std::uint64_t limit_bytes) {
  std::string text;
  std::vector<std::byte> piece(64 << 10);
  for (;;) {
    VARVE_ASSIGN(const std::size_t count, read(piece));
    if (count == 0) return text;
    if (text.size() + count > limit_bytes) {
      return Failure{EFBIG, url().shown() + ": more than " + std::to_string(limit_bytes) + " bytes"};
    }
    text.append(reinterpret_cast<const char*>(piece.data()), count);
  }
}

HttpClient::HttpClient(HttpOptions options)
    : options_(std::make_shared<const HttpOptions>(std::move(options))), pool_(std::make_shared<HttpPool>()) {
  // Once in a program, before threads use libcurl (curl_global_init(3)).
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  static_cast<void>(initialised);
}
HttpClient::~HttpClient() = default;

StatusOrFailure HttpClient::wait(std::chrono::milliseconds delay) const {
  const auto end = std::chrono::steady_clock::now() + delay;
  while (std::chrono::steady_clock::now() < end) {
    if (options_->cancelled()) return Failure{ECANCELED, "interrupted"};
    std::this_thread::sleep_for(std::min(delay, std::chrono::milliseconds(50)));
  }
  return {};
}

std::chrono::milliseconds HttpClient::delay_before(int attempt) const {
  std::chrono::milliseconds delay = options_->first_delay;
  for (int i = 2; i < attempt && delay < kMostDelay; ++i) delay *= 2;
  return std::min(delay, kMostDelay);
}

StatusOrFailure HttpClient::wait_before(int attempt) const {
  return wait(delay_before(attempt));
}

ResultOrFailure<std::unique_ptr<HttpResponse>> HttpClient::send_once(const HttpRequest& request) {
  if (!request.url.is_https() && options_->verify && !request.url.is_loopback()) {
    return Failure{EACCES, request.url.shown() + ": plain http is refused (--tls-verify=false allows it)"};
  }
  auto transfer = std::make_unique<HttpTransfer>(options_, pool_, request.url);
  VARVE_RETURN_IF_ERROR(transfer->start(request, request.authorization));
  return std::make_unique<HttpResponse>(std::move(transfer));
}

ResultOrFailure<std::unique_ptr<HttpResponse>> HttpClient::follow(const HttpRequest& request) {
  HttpRequest hop = request;
  for (int redirects = 0;; ++redirects) {
    VARVE_ASSIGN(std::unique_ptr<HttpResponse> response, send_once(hop));
    const bool can_follow = hop.method == "GET" || hop.method == "HEAD";
    const std::string location = response->header("location");
    if (!can_follow || !is_redirect(response->status()) || location.empty()) return response;
    if (redirects == kMostRedirects) {
      return Failure{
          ELOOP, request.url.shown() + ": redirected more than " + std::to_string(kMostRedirects) + " times"};
    }
    auto resolved = hop.url.resolve(location);
    if (!resolved.ok())
      return Failure{EINVAL, request.url.shown() + ": redirected to " + resolved.error().message};
    HttpUrl next = std::move(resolved).value();
    if (hop.url.is_https() && !next.is_https()) {
      return Failure{EACCES, request.url.shown() + ": redirected from https to plain http, which is refused"};
    }
    // Once away, always away: who was redirected to must not get at credentials by sending us back.
    if (next.origin() != hop.url.origin()) hop.authorization.clear();
    hop.url = std::move(next);
  }
}

ResultOrFailure<std::unique_ptr<HttpResponse>> HttpClient::send(const HttpRequest& request) {
  for (int attempt = 1;; ++attempt) {
    auto response = follow(request);
    const bool passing = response.ok() ? is_passing((*response)->status()) : is_passing(response.error());
    if (!passing || request.once || request.stream || attempt == kMostAttempts) return response;
    const auto asked = response.ok() ? asked_delay(**response) : std::nullopt;
    VARVE_RETURN_IF_ERROR(wait(asked.value_or(delay_before(attempt + 1))));
  }
}

}  // namespace varve::transport
