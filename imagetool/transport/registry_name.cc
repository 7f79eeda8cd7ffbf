#include "imagetool/transport/registry_name.h"

#include <algorithm>
#include <charconv>

#include "imagetool/transport/http_url.h"

namespace varve::transport {
namespace {

constexpr std::string_view kDefaultRegistry = "docker.io";
constexpr std::size_t kMostRepositoryBytes = 255;
constexpr std::size_t kMostTagBytes = 128;

bool is_lower_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}
bool is_alphanumeric(char c) {
  return is_lower_alphanumeric(c) || (c >= 'A' && c <= 'Z');
}

// [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)* of the distribution-spec.
bool is_path_component(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size() && is_lower_alphanumeric(text[at])) ++at;
  if (at == 0) return false;
  while (at < text.size()) {
    const std::size_t begin = at;
    while (at < text.size() && !is_lower_alphanumeric(text[at])) ++at;
    const std::string_view separator = text.substr(begin, at - begin);
    const bool dashes = std::all_of(separator.begin(), separator.end(), [](char c) { return c == '-'; });
    if (!dashes && separator != "." && separator != "_" && separator != "__") return false;
    if (at == text.size()) return false;
    while (at < text.size() && is_lower_alphanumeric(text[at])) ++at;
  }
  return true;
}

bool is_repository(std::string_view text) {
  if (text.empty() || text.size() > kMostRepositoryBytes) return false;
  for (;;) {
    const std::size_t slash = text.find('/');
    if (!is_path_component(text.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    text.remove_prefix(slash + 1);
  }
}

bool is_tag(std::string_view text) {
  const auto good = [](char c) { return is_alphanumeric(c) || c == '_' || c == '.' || c == '-'; };
  return !text.empty() && text.size() <= kMostTagBytes && text[0] != '.' && text[0] != '-' &&
         std::all_of(text.begin(), text.end(), good);
}

bool is_port(std::string_view text) {
  unsigned port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() && port > 0 && port < 65536;
}

bool is_host(std::string_view text) {
  if (text.starts_with('[')) {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos) return false;
    const std::string_view address = text.substr(1, close - 1);
    const std::string_view rest = text.substr(close + 1);
    const auto good = [](char c) {
      return std::string_view("0123456789abcdefABCDEF:.").find(c) != std::string_view::npos;
    };
    return address.size() >= 2 && std::all_of(address.begin(), address.end(), good) &&
           (rest.empty() || (rest[0] == ':' && is_port(rest.substr(1))));
  }
  const std::size_t colon = text.find(':');
  if (colon != std::string_view::npos && !is_port(text.substr(colon + 1))) return false;
  std::string_view name = text.substr(0, colon);
  if (name.empty() || name.size() > 253) return false;
  for (;;) {
    const std::size_t dot = name.find('.');
    const std::string_view label = name.substr(0, dot);
    const auto good = [](char c) { return is_alphanumeric(c) || c == '-'; };
    if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-' ||
        !std::all_of(label.begin(), label.end(), good)) {
      return false;
    }
    if (dot == std::string_view::npos) return true;
    name.remove_prefix(dot + 1);
  }
}

// Whether the first part of a name is a host, as docker decides it.
bool looks_like_host(std::string_view text) {
  return text == "localhost" || text.find_first_of(".:") != std::string_view::npos ||
         std::any_of(text.begin(), text.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

}  // namespace

std::string RegistryName::http_host() const {
  return registry == kDefaultRegistry ? "registry-1.docker.io" : registry;
}

std::string RegistryName::text() const {
  return registry + "/" + repository + (tag.empty() ? "" : ":" + tag) + (digest ? "@" + digest->text() : "");
}

ResultOrFailure<RegistryName> parse_registry_name(std::string_view text) {
  const std::string quoted = "\"" + shown_text(text) + "\"";
  if (text.starts_with("docker://")) text.remove_prefix(9);
  RegistryName name;
  std::string_view rest = text;
  if (const std::size_t at = rest.find('@'); at != std::string_view::npos) {
    auto digest = image::Digest::parse(rest.substr(at + 1));
    if (!digest.ok()) {
      return Failure{
          EINVAL, quoted + ": what follows '@' is no digest (sha256: and 64 lower-case hexadecimal digits)"};
    }
    name.digest = std::move(digest).value();
    rest = rest.substr(0, at);
  }
  const std::size_t slash = rest.rfind('/');
  const std::size_t colon = rest.find(':', slash == std::string_view::npos ? 0 : slash);
  if (colon != std::string_view::npos) {
    name.tag = rest.substr(colon + 1);
    if (!is_tag(name.tag)) {
      return Failure{EINVAL,
                     quoted + ": what follows ':' is no tag (letters, digits, '_', '.', '-'; at most 128)"};
    }
    rest = rest.substr(0, colon);
  } else if (!name.digest) {
    name.tag = "latest";
  }
  if (const std::size_t first = rest.find('/');
      first != std::string_view::npos && looks_like_host(rest.substr(0, first))) {
    name.registry = rest.substr(0, first);
    name.repository = rest.substr(first + 1);
    name.has_host = true;
    if (!is_host(name.registry))
      return Failure{EINVAL, quoted + ": what stands before the first '/' is no HOST[:PORT]"};
    if (name.registry == "index.docker.io" || name.registry == "registry-1.docker.io")
      name.registry = kDefaultRegistry;
  } else {
    name.registry = kDefaultRegistry;
    name.repository = rest;
  }
  if (!is_repository(name.repository)) {
    return Failure{EINVAL,
                   quoted +
                       ": no name of an image in a registry "
                       "(lower-case letters and digits, in between '.', '_', '-'; parts divided by '/')"};
  }
  if (name.registry == kDefaultRegistry && name.repository.find('/') == std::string::npos) {
    name.repository = "library/" + name.repository;
  }
  return name;
}

}  // namespace varve::transport
