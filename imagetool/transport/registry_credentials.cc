#include "imagetool/transport/registry_credentials.h"

#include <unistd.h>

#include <array>
#include <cstdlib>

#include "imagetool/image/store/atomic_file.h"
#include "imagetool/image/store/json_text.h"
#include "imagetool/transport/http_url.h"

namespace varve::transport {
namespace {

constexpr std::uint64_t kMostFileBytes = 1 << 20;
constexpr std::string_view kBase64Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// docker.io goes by several names in these files.
std::string_view one_name(std::string_view host) {
  return host == "index.docker.io" || host == "registry-1.docker.io" ? "docker.io" : host;
}

// "https://index.docker.io/v1/" -> "docker.io", "https://registry.example/v2/" -> "registry.example".
// Requires: `key` has a scheme, or a path of versions: what docker once wrote. Others stand for repositories.
std::optional<std::string> legacy_host(std::string_view key) {
  std::string_view rest = key;
  bool legacy = false;
  for (const std::string_view scheme : {"https://", "http://"}) {
    if (rest.starts_with(scheme)) {
      rest.remove_prefix(scheme.size());
      legacy = true;
    }
  }
  const std::size_t slash = rest.find('/');
  const std::string_view path = slash == std::string_view::npos ? "" : rest.substr(slash);
  if (path == "/v1/" || path == "/v2/" || path == "/v1" || path == "/v2" || path == "/") legacy = true;
  if (!legacy && !rest.starts_with("index.docker.io")) return std::nullopt;
  return std::string(one_name(rest.substr(0, slash)));
}

// The names under which credentials for `name` may stand, the most telling first.
std::vector<std::string> keys_of(const RegistryName& name) {
  std::vector<std::string> keys;
  std::string key = name.registry + "/" + name.repository;
  while (key.size() > name.registry.size()) {
    keys.push_back(key);
    key.resize(key.rfind('/'));
  }
  keys.push_back(name.registry);
  return keys;
}

ResultOrFailure<std::optional<Credentials>> entry_credentials(const image::Json& entry,
                                                              const std::string& where) {
  std::string auth;
  Credentials credentials;
  image::JsonReader reader(entry, where);
  reader.check("auths", entry.is_object(), "an object of objects");
  reader.read("auth", auth);
  reader.read("identitytoken", credentials.identity_token);
  VARVE_RETURN_IF_ERROR(reader.status());
  if (auth.empty() && credentials.identity_token.empty()) return std::optional<Credentials>();
  auto text = base64_decoded(auth);
  if (text.ok()) {
    // docker pads some with zero bytes (containers/image decodeDockerAuth).
    while (!text->empty() && text->back() == '\0') text->pop_back();
    if (const std::size_t colon = text->find(':'); colon != std::string::npos) {
      credentials.user = text->substr(0, colon);
      credentials.password = text->substr(colon + 1);
      return std::optional<Credentials>(std::move(credentials));
    }
    if (!credentials.identity_token.empty()) return std::optional<Credentials>(std::move(credentials));
  }
  return Failure{EINVAL, where + ": its \"auth\" is not USER:PASSWORD in base64 (log in again)"};
}

ResultOrFailure<std::optional<Credentials>> in_auths(const image::Json& auths, const std::string& path,
                                                     const RegistryName& name) {
  for (const std::string& key : keys_of(name)) {
    const auto found = auths.find(key);
    if (found == auths.end()) continue;
    VARVE_ASSIGN(std::optional<Credentials> credentials, entry_credentials(*found, path + ": " + key));
    if (credentials) return credentials;
  }
  for (const auto& [key, entry] : auths.items()) {
    if (legacy_host(key) != std::string(one_name(name.registry))) continue;
    VARVE_ASSIGN(std::optional<Credentials> credentials,
                 entry_credentials(entry, path + ": " + shown_text(key)));
    if (credentials) return credentials;
  }
  return std::optional<Credentials>();
}

// What helpers know a registry by.
std::string helper_key(const RegistryName& name) {
  return name.registry == "docker.io" ? "https://index.docker.io/v1/" : name.registry;
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

}  // namespace

ResultOrFailure<Credentials> parse_credentials(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0)
    return Failure{EINVAL, "credentials are not USER:PASSWORD"};
  return Credentials{.user = std::string(text.substr(0, colon)),
                     .password = std::string(text.substr(colon + 1))};
}

std::string base64_encoded(std::string_view bytes) {
  std::string text;
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - at);
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < 3; ++i)
      bits = bits << 8 | (i < count ? static_cast<unsigned char>(bytes[at + i]) : 0U);
    for (std::size_t i = 0; i < 4; ++i) text += i <= count ? kBase64Digits[bits >> (18 - 6 * i) & 63] : '=';
  }
  return text;
}

Result<std::string> base64_decoded(std::string_view text) {
  while (text.ends_with('=')) text.remove_suffix(1);
  if (text.size() % 4 == 1) return Errno{EINVAL};
  std::string bytes;
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const char c : text) {
    const std::size_t digit = kBase64Digits.find(c);
    if (digit == std::string_view::npos) return Errno{EINVAL};
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    count += 6;
    if (count >= 8) {
      count -= 8;
      bytes += static_cast<char>(bits >> count & 255);
    }
  }
  return bytes;
}

ResultOrFailure<std::optional<Credentials>> credentials_in(std::string_view text, const std::string& path,
                                                           const RegistryName& name) {
  auto json = image::parse_json_object(text);
  if (!json.ok()) return Failure{EINVAL, path + ": " + json.error().message};
  std::map<std::string, std::string> helpers;
  std::string store;
  image::JsonReader reader(*json, path);
  reader.read("credHelpers", helpers);
  reader.read("credsStore", store);
  const image::Json* auths = reader.object("auths");
  VARVE_RETURN_IF_ERROR(reader.status());
  if (const auto helper = helpers.find(name.registry); helper != helpers.end()) {
    VARVE_ASSIGN(std::optional<Credentials> credentials,
                 ask_credential_helper(helper->second, helper_key(name)));
    if (credentials) return credentials;
  }
  if (auths) {
    VARVE_ASSIGN(std::optional<Credentials> credentials, in_auths(*auths, path, name));
    if (credentials) return credentials;
  }
  if (store.empty()) return std::optional<Credentials>();
  return ask_credential_helper(store, helper_key(name));
}

std::vector<AuthFile> auth_files(const std::string& given) {
  if (!given.empty()) return {{given, true}};
  if (const std::string file = environment("REGISTRY_AUTH_FILE"); !file.empty()) return {{file, false}};
  const std::string home = environment("HOME");
  std::string runtime = environment("XDG_RUNTIME_DIR");
  if (runtime.empty())
    runtime = "/run/containers/" + std::to_string(::getuid());
  else
    runtime += "/containers";
  std::string config = environment("XDG_CONFIG_HOME");
  if (config.empty()) config = home + "/.config";
  std::string docker = environment("DOCKER_CONFIG");
  if (docker.empty()) docker = home + "/.docker";
  return {{runtime + "/auth.json", false},
          {config + "/containers/auth.json", false},
          {docker + "/config.json", false}};
}

ResultOrFailure<std::optional<Credentials>> find_credentials(const std::vector<AuthFile>& files,
                                                             const RegistryName& name) {
  for (const AuthFile& file : files) {
    if (file.path == "/dev/null") continue;  // what people give to log in nowhere
    const Result<std::string> text = image::read_small_file(file.path, kMostFileBytes);
    if (!text.ok()) {
      const int why = text.error().value;
      if (!file.must_exist && (why == ENOENT || why == ENOTDIR || why == EACCES)) continue;
      return failure_from(text.error(), file.path);
    }
    if (text->find_first_not_of(" \t\r\n") == std::string::npos) continue;
    VARVE_ASSIGN(std::optional<Credentials> credentials, credentials_in(*text, file.path, name));
    if (credentials) return credentials;
  }
  return std::optional<Credentials>();
}

}  // namespace varve::transport
