#pragma once

// The JSON of a store: index.json and manifests (OCI image-spec image-index.md, manifest.md), text in and
// values out. For the store library, and for other layouts (imagetool/transport). Texts are not trusted; every Failure names the file and the
// field. Thread rule: stateless.

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/result.h"
#include "imagetool/image/store/store.h"

namespace varve::image {

inline constexpr std::string_view kEmptyIndex =
    "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":[]}";

struct Manifest {
  Descriptor config;
  std::vector<Descriptor> layers;
};

StatusOrFailure check_layout_version(std::string_view text, const std::string& path);
// Only an absent directory, an empty one, or one that holds nothing but containers becomes a store.
StatusOrFailure check_can_become_store(const std::string& directory);

ResultOrFailure<std::vector<IndexEntry>> parse_index(std::string_view text, const std::string& path);
// Entries and fields of others stay as they are.
StatusOrFailure set_name_in_index(std::string& text, const IndexEntry& entry, const std::string& path);
// Removes the entries called `name`, or, without a name, those of `digest`.
StatusOrFailure remove_from_index(std::string& text, const std::optional<std::string>& name,
                                  const Digest& digest, const std::string& path);

// Any of a manifest's or an index's.
ResultOrFailure<Descriptor> parse_descriptor(const nlohmann::json& json, const std::string& where);
ResultOrFailure<Manifest> parse_manifest(std::string_view text, const std::string& where);
std::string manifest_to_json(const Manifest& manifest);

// Every digest that occurs in a manifest or index, however it is laid out: what gc must keep.
ResultOrFailure<std::vector<Descriptor>> descriptors_in(std::string_view text, const std::string& where);

}  // namespace varve::image
