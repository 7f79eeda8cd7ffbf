#pragma once

// Where the password for a registry is: the files that podman login and docker login write, or a program that they name.
// Source: containers/image docs/containers-auth.json.5.md and pkg/docker/config/config.go.
// Thread rule: any thread. Passwords are in values only, never in messages.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/result.h"
#include "imagetool/transport/credential_helper.h"
#include "imagetool/transport/registry_name.h"

namespace varve::transport {

// "USER:PASSWORD". Returns: EINVAL without user or colon.
ResultOrFailure<Credentials> parse_credentials(std::string_view text);
// "user:password" in base64, as it stands in files and in headers (RFC 4648 section 4).
std::string base64_encoded(std::string_view bytes);
// Returns: EINVAL for other characters, or an end that makes no sense. The '=' at the end may be missing.
Result<std::string> base64_decoded(std::string_view text);

// Looks into the text of one such file: `credHelpers` of the registry, `auths` (the longest name that holds for `name`; "https://" and what
// follows the host, as docker wrote it once, do not matter), `credsStore`. `path` is for messages.
ResultOrFailure<std::optional<Credentials>> credentials_in(std::string_view text, const std::string& path,
                                                           const RegistryName& name);

struct AuthFile {
  std::string path;
  bool must_exist = false;
};
// In the order in which they are asked: `given` alone when it is not empty, else $REGISTRY_AUTH_FILE alone, else
// $XDG_RUNTIME_DIR/containers/auth.json (/run/containers/UID/auth.json), $XDG_CONFIG_HOME/containers/auth.json,
// $DOCKER_CONFIG/config.json; the usual places where these are not set.
std::vector<AuthFile> auth_files(const std::string& given);

// The first that one of `files` holds; nothing: anonymously. Returns: a Failure for a file that cannot be read or makes no sense.
ResultOrFailure<std::optional<Credentials>> find_credentials(const std::vector<AuthFile>& files,
                                                             const RegistryName& name);

}  // namespace varve::transport
