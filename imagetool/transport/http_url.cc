#include "imagetool/transport/http_url.h"

#include <arpa/inet.h>
#include <curl/curl.h>

#include <algorithm>
#include <memory>

namespace varve::transport {
namespace {

constexpr std::size_t kMostUrlBytes = 8 << 10;

struct FreeUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using CurlUrl = std::unique_ptr<CURLU, FreeUrl>;

// Empty when it is absent.
std::string part_of(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK) return "";
  std::string copy(text);
  curl_free(text);
  return copy;
}

Failure no_url(std::string_view text, const char* why) {
  return Failure{EINVAL, "\"" + shown_text(text) + "\": no usable URL (" + why + ")"};
}

}  // namespace

std::string shown_text(std::string_view text, std::size_t most) {
  std::string shown(text.substr(0, most));
  std::replace_if(
      shown.begin(), shown.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  if (text.size() > most) shown += "...";
  return shown;
}

std::string percent_encoded(std::string_view text) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
        std::string_view("-._~").find(c) != std::string_view::npos) {
      encoded += c;
    } else {
      encoded += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return encoded;
}

ResultOrFailure<HttpUrl> HttpUrl::parse(std::string_view text) {
  if (text.size() > kMostUrlBytes) return no_url(text, "it is too long");
  if (std::any_of(text.begin(), text.end(), [](char c) { return c <= ' ' || c > '~'; })) {
    return no_url(text, "it holds characters that no URL has");
  }
  const CurlUrl parsed(curl_url());
  if (!parsed) return Failure{ENOMEM, "no memory for a URL"};
  if (curl_url_set(parsed.get(), CURLUPART_URL, std::string(text).c_str(), CURLU_NON_SUPPORT_SCHEME) !=
      CURLUE_OK) {
    return no_url(text, "it is not SCHEME://HOST/PATH");
  }
  const std::string scheme = part_of(parsed.get(), CURLUPART_SCHEME);
  if (scheme != "http" && scheme != "https") return no_url(text, "its scheme is neither http nor https");
  if (!part_of(parsed.get(), CURLUPART_USER).empty() || !part_of(parsed.get(), CURLUPART_PASSWORD).empty()) {
    return Failure{EINVAL, "a URL with user and password in it, which is refused"};
  }
  curl_url_set(parsed.get(), CURLUPART_FRAGMENT, nullptr, 0);
  HttpUrl url;
  url.https_ = scheme == "https";
  url.text_ = part_of(parsed.get(), CURLUPART_URL);
  url.host_ = part_of(parsed.get(), CURLUPART_HOST);
  std::transform(url.host_.begin(), url.host_.end(), url.host_.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  url.origin_ = scheme + "://" + url.host_ + ":" + part_of(parsed.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
  return url;
}

ResultOrFailure<HttpUrl> HttpUrl::resolve(std::string_view reference) const {
  if (reference.size() > kMostUrlBytes) return no_url(reference, "it is too long");
  if (std::any_of(reference.begin(), reference.end(), [](char c) { return c <= ' ' || c > '~'; })) {
    return no_url(reference, "it holds characters that no URL has");
  }
  const CurlUrl base(curl_url());
  if (!base || curl_url_set(base.get(), CURLUPART_URL, text_.c_str(), 0) != CURLUE_OK ||
      curl_url_set(base.get(), CURLUPART_URL, std::string(reference).c_str(), CURLU_NON_SUPPORT_SCHEME) !=
          CURLUE_OK) {
    return no_url(reference, "a server sent it");
  }
  return parse(part_of(base.get(), CURLUPART_URL));
}

std::string HttpUrl::shown() const {
  return shown_text(std::string_view(text_).substr(0, text_.find('?')));
}

bool HttpUrl::is_loopback() const {
  if (host_ == "localhost" || host_ == "[::1]") return true;
  in_addr address{};
  return ::inet_pton(AF_INET, host_.c_str(), &address) == 1 && (ntohl(address.s_addr) >> 24) == 127;
}

HttpUrl HttpUrl::with_query(std::string_view name, std::string_view value) const {
  HttpUrl url = *this;
  const char last = text_.back();
  if (text_.find('?') == std::string::npos) {
    url.text_ += '?';
  } else if (last != '?' && last != '&') {
    url.text_ += '&';
  }
  url.text_ += percent_encoded(name) + "=" + percent_encoded(value);
  return url;
}

}  // namespace varve::transport
