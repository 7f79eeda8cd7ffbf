#pragma once

// ImageConfig: what an image says of how its programs are run and how it came to be: the OCI image
// configuration (image-spec config.md, media type application/vnd.oci.image.config.v1+json). A plain value.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/result.h"

namespace varve::image {

struct HistoryEntry {
  std::string created;     // RFC 3339; empty when unknown
  std::string created_by;  // the command that made the layer
  std::string author;
  std::string comment;
  bool empty_layer = false;  // changed the configuration only
};

struct ImageConfig {
  std::string architecture;  // GOARCH spelling: amd64, arm64
  std::string os = "linux";
  std::string created;  // RFC 3339
  std::string author;

  std::vector<std::string> entrypoint;
  std::vector<std::string> cmd;
  std::vector<std::string> env;  // "NAME=VALUE"
  std::string working_dir;
  std::string user;         // USER[:GROUP], names or numbers
  std::string stop_signal;  // "SIGTERM" or a number
  std::map<std::string, std::string> labels;
  std::vector<std::string> exposed_ports;  // "80/tcp"
  std::vector<std::string> volumes;        // paths

  std::vector<std::string> diff_ids;  // bottom first (docs/decisions/0016)
  std::vector<HistoryEntry> history;  // oldest first

  // The JSON text this was parsed from; image_config_to_json keeps its fields that are not named above.
  std::string source_json;
};

// `text` is not trusted. The message of the Failure says which field is wrong.
ResultOrFailure<ImageConfig> parse_image_config(std::string_view text);
// Deterministic: keys sorted, no white space.
std::string image_config_to_json(const ImageConfig& config);

// The machine's architecture in GOARCH spelling.
std::string host_architecture();
// "2024-05-01T10:00:00Z"; `seconds` since 1970.
std::string rfc3339(long long seconds);

}  // namespace varve::image
