#pragma once

// Programs that keep passwords: docker-credential-NAME (github.com/docker/docker-credential-helpers, "get"): the server on standard input, JSON on
// standard output. Thread rule: any thread.

#include <chrono>
#include <optional>
#include <string>

#include "fs/base/result.h"

namespace varve::transport {

// What is shown to a registry, or to its token service. Never in a message.
struct Credentials {
  std::string user;
  std::string password;
  std::string identity_token;  // instead of both: a refresh token (OAuth 2)
};

// Runs docker-credential-`name` of $PATH, without a shell. It has `timeout` and 64 KiB; its standard error is the caller's.
// Returns: nothing when it has no credentials for `server`; EINVAL for a name with other characters than [A-Za-z0-9._-].
ResultOrFailure<std::optional<Credentials>> ask_credential_helper(
    const std::string& name, const std::string& server,
    std::chrono::milliseconds timeout = std::chrono::seconds(30));

}  // namespace varve::transport
