#pragma once

// HttpClient: what a registry client asks of HTTP, by libcurl: bodies that are read when there is room for them, limits on all that a
// server sends, redirects that carry no credentials to others, retries. Certificates are verified, unless it is told otherwise;
// plain http is spoken to this machine only, unless it is told otherwise. Proxies as curl takes them from the environment, none for
// this machine.
// Source: RFC 9110; what containers/image and go's net/http do where that leaves a choice.
// Thread rule: a client may be used from several threads at once; a response belongs to one. Responses may outlive the client.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fs/base/result.h"
#include "imagetool/transport/http_url.h"
#include "imagetool/transport/transport.h"

namespace varve::transport {

struct HttpOptions {
  // Certificates are looked at, and plain http refused to others than this machine.
  bool verify = true;
  // PEM: authorities that are trusted besides the system's.
  std::string more_authorities;
  // PEM: shown to servers of `client_origin` that ask for one; empty: none.
  std::string client_certificate, client_key, client_origin;

  std::chrono::milliseconds connect_timeout = std::chrono::seconds(30);
  // A transfer of less than a byte a second during this time is broken.
  std::chrono::milliseconds stall_timeout = std::chrono::seconds(60);
  // How long a server may think about what was uploaded: it may hash it, and store it elsewhere.
  std::chrono::milliseconds answer_timeout = std::chrono::seconds(300);
  // Between attempts: this, then double, and so on; at most kMostDelay, also where the server asks for more (Retry-After).
  std::chrono::milliseconds first_delay = std::chrono::milliseconds(500);
  // Asked several times a second, from any thread that waits: true ends the waiting.
  std::function<bool()> cancelled = [] { return false; };
};
inline constexpr std::chrono::milliseconds kMostDelay = std::chrono::seconds(8);
inline constexpr int kMostAttempts = 5;
inline constexpr int kMostRedirects = 10;
inline constexpr std::size_t kMostHeaderBytes = 64 << 10;  // of one answer, all together

struct HttpRequest {
  std::string method = "GET";
  HttpUrl url;
  std::vector<std::string> headers;  // "Name: value"; no line breaks in them
  // Sent to the origin of `url` only, not to where that redirects. Empty: none.
  std::string authorization;
  // The longest that request and answer together may take; 0: no limit. For what is small.
  std::chrono::milliseconds whole_timeout{0};
  // Not to be tried again as it is. A request with a stream never is.
  bool once = false;
  // What is sent: `body`, or `stream_bytes` bytes of `stream`, from its first one on, which lives as long as the response.
  std::string body;
  ByteStream* stream = nullptr;
  std::uint64_t stream_bytes = 0;
};

class HttpTransfer;

class HttpResponse : public ByteStream {
 public:
  explicit HttpResponse(std::unique_ptr<HttpTransfer> transfer);
  ~HttpResponse() override;

  int status() const;
  // The first of that name, in any case; empty when there is none.
  std::string header(std::string_view name) const;
  std::vector<std::string> headers(std::string_view name) const;
  // Of whom it came in the end.
  const HttpUrl& url() const;
  // Whether the answer itself says where its body ends, so that an early end is told from the end.
  bool end_is_told() const;
  // Whether nothing was taken of the request's stream, so that the request can be sent again.
  bool body_untouched() const;

  // The body. Returns: EIO when the connection broke off, ETIMEDOUT, ECANCELED.
  ResultOrFailure<std::size_t> read(std::span<std::byte> into) override;
  // All of it. Returns: as read(), and EFBIG for more than `limit_bytes`.
  ResultOrFailure<std::string> read_all(std::uint64_t limit_bytes);

 private:
  std::unique_ptr<HttpTransfer> transfer_;
};

// Handles of libcurl with their open connections, for the next request.
class HttpPool;

class HttpClient {
 public:
  explicit HttpClient(HttpOptions options);
  ~HttpClient();

  // An answer of whatever status once it is no redirect that can be followed, and none that another attempt may better
  // (429, 5xx). Requires: nothing else reads `stream` meanwhile.
  // Returns: ECONNREFUSED when nothing answered, EPROTO when it does not speak TLS, EACCES for a certificate that is not trusted
  // or where plain http is refused, EIO and others.
  ResultOrFailure<std::unique_ptr<HttpResponse>> send(const HttpRequest& request);

  // Waits as it is waited before attempt number `attempt`, from 2 on, of something else. Returns: ECANCELED.
  StatusOrFailure wait_before(int attempt) const;

  const HttpOptions& options() const { return *options_; }

 private:
  ResultOrFailure<std::unique_ptr<HttpResponse>> send_once(const HttpRequest& request);
  ResultOrFailure<std::unique_ptr<HttpResponse>> follow(const HttpRequest& request);
  StatusOrFailure wait(std::chrono::milliseconds delay) const;
  std::chrono::milliseconds delay_before(int attempt) const;

  std::shared_ptr<const HttpOptions> options_;
  std::shared_ptr<HttpPool> pool_;
};

}  // namespace varve::transport
