#include "imagetool/image/store/platform.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "imagetool/image/store/json_text.h"
#include "imagetool/image/store/store_index.h"

namespace varve::image {
namespace {

constexpr int kNoMatch = -1;

bool is_word(std::string_view text) {
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), good);
}

std::string goarch(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 5> kNames = {
      {{"x86_64", "amd64"}, {"aarch64", "arm64"}, {"armhf", "arm"}, {"i386", "386"}, {"i686", "386"}}};
  for (const auto& [other, ours] : kNames) {
    if (name == other) return std::string(ours);
  }
  return std::string(name);
}

// Which of the architecture's generations; negative: a variant that is no "vN".
int version_of(const Platform& platform) {
  const std::string& variant = platform.variant;
  if (variant.empty()) {
    if (platform.architecture == "arm64") return 8;
    if (platform.architecture == "arm") return 7;
    return platform.architecture == "amd64" ? 1 : 0;
  }
  if (variant.size() != 2 || variant[0] != 'v' || variant[1] < '0' || variant[1] > '9') return -1;
  return variant[1] - '0';
}

// How well a machine `wanted` is served by what is made for `offered`; kNoMatch: it does not run there.
int match(const Platform& wanted, const Platform& offered) {
  if (wanted.os != offered.os || wanted.architecture != offered.architecture) return kNoMatch;
  if (wanted.variant == offered.variant) return 1000;
  const int have = version_of(wanted);
  const int need = version_of(offered);
  if (have >= 0 && need >= 0 && need <= have) return 500 - (have - need);
  if (!wanted.variant.empty()) return kNoMatch;
  return need < 0 ? 0 : 100 - need;
}

struct Offer {
  Descriptor descriptor;
  std::optional<Platform> platform;
};

ResultOrFailure<std::optional<Platform>> platform_of(const Json& entry, const std::string& where) {
  JsonReader reader(entry, where);
  const Json* json = reader.object("platform");
  VARVE_RETURN_IF_ERROR(reader.status());
  if (json == nullptr) return std::optional<Platform>();
  Platform platform;
  JsonReader fields(*json, where + ", platform");
  fields.read("os", platform.os);
  fields.read("architecture", platform.architecture);
  fields.read("variant", platform.variant);
  VARVE_RETURN_IF_ERROR(fields.status());
  return std::optional(std::move(platform));
}

ResultOrFailure<std::vector<Offer>> read_offers(std::string_view index, const std::string& where) {
  auto json = parse_json_object(index);
  if (!json.ok()) return Failure{EINVAL, where + ": " + json.error().message};
  JsonReader reader(*json, where);
  const Json* manifests = reader.array("manifests");
  reader.check("manifests", manifests != nullptr, "an array");
  VARVE_RETURN_IF_ERROR(reader.status());
  std::vector<Offer> offers;
  for (const Json& entry : *manifests) {
    VARVE_ASSIGN(std::optional<Platform> platform, platform_of(entry, where + ", manifests"));
    VARVE_ASSIGN(Descriptor descriptor, parse_descriptor(entry, where + ", manifests"));
    if (platform && platform->os == "unknown") continue;
    offers.push_back({std::move(descriptor), std::move(platform)});
  }
  return offers;
}

std::string list_of(const std::vector<Offer>& offers) {
  std::vector<std::string> names;
  for (const Offer& offer : offers) {
    if (!offer.platform || !is_word(offer.platform->os) || !is_word(offer.platform->architecture)) continue;
    std::string name = offer.platform->os + "/" + offer.platform->architecture;
    if (is_word(offer.platform->variant)) name += "/" + offer.platform->variant;
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(std::move(name));
  }
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

std::string Platform::text() const {
  return os + "/" + architecture + (variant.empty() ? "" : "/" + variant);
}

ResultOrFailure<Platform> parse_platform(std::string_view text) {
  std::vector<std::string> words;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t slash = std::min(text.find('/', at), text.size());
    words.emplace_back(text.substr(at, slash - at));
    at = slash + 1;
  }
  if (words.size() < 2 || words.size() > 3 || !std::all_of(words.begin(), words.end(), is_word)) {
    return Failure{EINVAL, "\"" + std::string(text) +
                               "\" is no platform (write OS/ARCHITECTURE[/VARIANT], as in linux/arm64)"};
  }
  return Platform{
      .os = words[0], .architecture = goarch(words[1]), .variant = words.size() == 3 ? words[2] : ""};
}

Platform host_platform() {
  return Platform{.architecture = host_architecture()};
}

ResultOrFailure<Descriptor> choose_manifest(std::string_view index, const Platform& wanted,
                                            const std::string& where) {
  VARVE_ASSIGN(std::vector<Offer> offers, read_offers(index, where));
  // With one image alone there is nothing to choose; its configuration says what it is for.
  if (offers.size() == 1 && !offers[0].platform) return std::move(offers[0].descriptor);
  Offer* best = nullptr;
  int best_match = kNoMatch;
  for (Offer& offer : offers) {
    const int matches = offer.platform ? match(wanted, *offer.platform) : kNoMatch;
    if (matches <= best_match) continue;
    best = &offer;
    best_match = matches;
  }
  if (best != nullptr) return std::move(best->descriptor);
  const std::string there = list_of(offers);
  return Failure{ENOTSUP, where + ": has no image for " + wanted.text() +
                              (there.empty() ? "" : " (there are " + there + "; choose with --platform)")};
}

}  // namespace varve::image
