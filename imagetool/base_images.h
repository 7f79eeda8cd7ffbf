#pragma once

// BaseImages: the images that a build stands on (FROM) and copies from (COPY --from): those of the store, else of their registry, as
// docker and podman have it. Thread rule: the main thread. Ownership: borrows all that it is given.

#include <functional>
#include <map>
#include <string>
#include <utility>

#include "imagetool/pull_image.h"

namespace varve::imagetool {

enum class PullPolicy : std::uint8_t {
  kMissing,  // what the store does not have
  kAlways,   // each once a build, whatever the store has
  kNever,
};
// "missing", "always", "never". Requires: one of them.
PullPolicy parse_pull_policy(std::string_view text);

class BaseImages {
 public:
  struct Options {
    PullPolicy policy = PullPolicy::kMissing;
    RegistryFlags registry;
    transfer::BringInOptions bring_in;
    std::function<void(const std::string& line)> tell;
  };
  BaseImages(Options options, image::Store& store, ProgressMonitor& monitor)
      : options_(std::move(options)), store_(store), monitor_(monitor) {}

  // `reference`: a name or digest of the store, or [REGISTRY/]NAME[:TAG][@DIGEST], which in the store is called as it is written, with
  // the tag "sha256-HEX" where it has a digest. `platform`: OS/ARCH[/VARIANT], empty: whatever the store has, else this machine's;
  // of another platform than this machine's it is pulled to the tag with "-OS-ARCH" behind it, so that no name that runs here
  // comes to mean what does not.
  // Returns: ENOENT with --pull=never; else what the pull failed with, and that the store has none; ENOTSUP when there is none for
  // the platform; ECANCELED.
  ResultOrFailure<image::Image> find(const std::string& reference, const std::string& platform);

 private:
  struct Wanted;
  ResultOrFailure<image::Image> find_once(const std::string& reference, const std::string& platform);
  ResultOrFailure<image::Image> find_in_store(const Wanted& wanted) const;
  ResultOrFailure<image::Image> pull(const Wanted& wanted);

  const Options options_;
  image::Store& store_;
  ProgressMonitor& monitor_;
  std::map<std::pair<std::string, std::string>, image::Image> found_;  // by reference and platform
};

}  // namespace varve::imagetool
