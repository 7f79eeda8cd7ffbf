#include "imagetool/base_images.h"

#include <fmt/format.h>

#include <algorithm>

#include "imagetool/commands.h"

namespace varve::imagetool {

// What is looked for, and under which names.
struct BaseImages::Wanted {
  std::string reference;
  std::optional<image::Platform> platform;
  std::string name;          // in the store
  std::string foreign_name;  // likewise, of another platform than this machine's; empty: it is this one's

  const std::string& pulled_name() const { return foreign_name.empty() ? name : foreign_name; }
  bool fits(const image::Image& image) const {
    return !platform ||
           (image.config.os == platform->os && image.config.architecture == platform->architecture);
  }
};

namespace {

// "debian@sha256:0123..." -> "debian:sha256-0123...".
std::string store_name(std::string reference) {
  if (reference.starts_with("docker://")) reference.erase(0, 9);
  const std::size_t at = reference.find('@');
  if (at == std::string::npos) return reference;
  std::string tag = reference.substr(at + 1);
  std::replace(tag.begin(), tag.end(), ':', '-');
  std::string name = reference.substr(0, at);
  const std::size_t slash = name.rfind('/');
  const std::size_t colon = name.find(':', slash == std::string::npos ? 0 : slash);
  return name.substr(0, colon) + ":" + tag;
}

ResultOrFailure<std::string> name_for_platform(const std::string& name, const image::Platform& platform) {
  VARVE_ASSIGN(image::ImageName parsed, image::parse_image_name(name));
  std::string suffix = "-" + platform.text();
  std::replace(suffix.begin(), suffix.end(), '/', '-');
  parsed.tag += suffix;
  return parsed.text();
}

}  // namespace

PullPolicy parse_pull_policy(std::string_view text) {
  if (text == "always") return PullPolicy::kAlways;
  return text == "never" ? PullPolicy::kNever : PullPolicy::kMissing;
}

ResultOrFailure<image::Image> BaseImages::find(const std::string& reference, const std::string& platform) {
  const auto found = found_.find({reference, platform});
  if (found != found_.end()) return found->second;
  VARVE_ASSIGN(image::Image image, find_once(reference, platform));
  found_.emplace(std::pair(reference, platform), image);
  return image;
}

ResultOrFailure<image::Image> BaseImages::find_once(const std::string& reference,
                                                    const std::string& platform) {
  Wanted wanted{.reference = reference, .platform = {}, .name = store_name(reference), .foreign_name = ""};
  // A digest is that of an image in the store, whatever is wished.
  const bool is_digest = image::Digest::parse(reference).ok();
  if (!platform.empty()) {
    VARVE_ASSIGN(wanted.platform, image::parse_platform(platform));
    const image::Platform host = image::host_platform();
    const bool is_foreign =
        wanted.platform->os != host.os || wanted.platform->architecture != host.architecture;
    if (is_foreign && !is_digest) {
      VARVE_ASSIGN(wanted.foreign_name, name_for_platform(wanted.name, *wanted.platform));
    }
  }
  if (is_digest || options_.policy != PullPolicy::kAlways) {
    auto there = find_in_store(wanted);
    if (there.ok() || is_digest || there.error().error_number != ENOENT) return there;
    if (options_.policy == PullPolicy::kNever) {
      return Failure{ENOENT, there.error().message + ", and with --pull=never it is not pulled"};
    }
  }
  return pull(wanted);
}

// Returns: ENOENT also when what is there is for another platform.
ResultOrFailure<image::Image> BaseImages::find_in_store(const Wanted& wanted) const {
  auto there = store_.resolve(wanted.name);
  if (there.ok() && wanted.fits(*there)) return there;
  if (!there.ok() && there.error().error_number != ENOENT) return there;
  if (!wanted.foreign_name.empty()) {
    auto foreign = store_.resolve(wanted.foreign_name);
    if (foreign.ok() || foreign.error().error_number != ENOENT) return foreign;
  }
  if (!there.ok()) return there;
  return Failure{ENOENT, fmt::format("{}: what is in {} is for {}/{}, not for {}", wanted.reference,
                                     store_.directory(), printable(there->config.os),
                                     printable(there->config.architecture), wanted.platform->text())};
}

ResultOrFailure<image::Image> BaseImages::pull(const Wanted& wanted) {
  const auto failure = [&](const Failure& why) {
    if (monitor_.cancelled()) return image::cancelled_failure();
    std::string in_store;
    if (options_.policy != PullPolicy::kAlways) {
      const char* how = store_.resolve(wanted.name).ok() ? "for another platform" : "not";
      in_store = fmt::format("{} in {}, and ", how, store_.directory());
    }
    return Failure{why.error_number,
                   fmt::format("{}: {}not pulled: {}", wanted.reference, in_store, why.message)};
  };
  const auto source = transport::parse_registry_name(wanted.reference);
  if (!source.ok()) return failure(source.error());
  VARVE_ASSIGN(const image::ImageName name, image::parse_image_name(wanted.pulled_name()));
  options_.tell("--> pulling " + source->text());
  transfer::BringInOptions bring_in = options_.bring_in;
  bring_in.platform = wanted.platform;
  auto pulled = pull_image(*source, name, options_.registry, bring_in, store_, monitor_);
  if (!pulled.ok()) return failure(pulled.error());
  if (!wanted.fits(pulled->image)) {
    return Failure{ENOTSUP, fmt::format("--platform={}: {} is for {}/{}", wanted.platform->text(),
                                        source->text(), printable(pulled->image.config.os),
                                        printable(pulled->image.config.architecture))};
  }
  return std::move(pulled->image);
}

}  // namespace varve::imagetool
