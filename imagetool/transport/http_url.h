#pragma once

// HttpUrl: an absolute http or https URL, taken apart by libcurl, which also goes there. Plain value.

#include <string>
#include <string_view>

#include "fs/base/result.h"

namespace varve::transport {

class HttpUrl {
 public:
  // Returns: EINVAL for what is none: other schemes, user or password in it, spaces, control characters, more than 8 KiB.
  static ResultOrFailure<HttpUrl> parse(std::string_view text);
  // What `reference`, of a Location header, means seen from here (RFC 3986 section 5.2): relative or absolute, with or
  // without '?'. A fragment is dropped. Returns: as parse().
  ResultOrFailure<HttpUrl> resolve(std::string_view reference) const;

  const std::string& text() const { return text_; }
  const std::string& host() const { return host_; }  // of an IPv6 address with its brackets
  bool is_https() const { return https_; }
  // "https://host:port": what credentials belong to (RFC 6454 section 4).
  const std::string& origin() const { return origin_; }
  // The same without its query, which may hold signatures: what messages may show.
  std::string shown() const;
  // Whether it names this machine itself: localhost, 127.0.0.0/8, ::1.
  bool is_loopback() const;
  // With `name=value` added to its query, escaped.
  HttpUrl with_query(std::string_view name, std::string_view value) const;

 private:
  HttpUrl() = default;
  std::string text_, host_, origin_;
  bool https_ = false;
};

// Bytes of others as a message may show them: one line, what is not printable ASCII as "?", at most `most` bytes.
std::string shown_text(std::string_view text, std::size_t most = 200);
// As a query takes it (RFC 3986 section 2.1).
std::string percent_encoded(std::string_view text);

}  // namespace varve::transport
