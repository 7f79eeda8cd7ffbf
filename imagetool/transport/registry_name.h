#pragma once

// RegistryName: what stands on a command line for an image in a registry: [HOST[:PORT]/]PATH[:TAG][@DIGEST], with the defaults
// of podman and docker: without a host docker.io, a PATH of one part there under library/, without TAG and DIGEST latest.
// Source: distribution-spec "Pulling manifests"; github.com/distribution/reference. Plain value.

#include <optional>
#include <string>
#include <string_view>

#include "fs/base/result.h"
#include "imagetool/image/store/digest.h"

namespace varve::transport {

struct RegistryName {
  std::string registry;    // "docker.io", "registry.example:5000", "[::1]:5000"
  std::string repository;  // "library/debian"
  std::string tag;         // empty: only a digest was given
  std::optional<image::Digest> digest;
  bool has_host = false;  // written, not added here

  // Where its HTTP is: docker.io's is registry-1.docker.io.
  std::string http_host() const;
  // In full; without a transport in front.
  std::string text() const;
  // What manifests are asked for: the digest, else the tag.
  std::string reference() const { return digest ? digest->text() : tag; }
};

// "docker://" in front is taken. Returns: EINVAL and what is wrong.
ResultOrFailure<RegistryName> parse_registry_name(std::string_view text);

}  // namespace varve::transport
