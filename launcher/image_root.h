#pragma once

// image_root: from what a person named (an image of the store, a directory, layers) to where a container's root file
// system comes from. Reads the store; makes nothing. Thread rule: stateless.

#include <string>
#include <vector>

#include "fs/base/result.h"
#include "imagetool/image/store/image_config.h"
#include "launcher/run_options.h"

namespace varve::launcher {

// Where the root file system comes from. All paths are absolute.
struct RootPlan {
  enum class Kind {
    kDirectory,  // `directory` is bound, with all that is mounted below it
    kStack,      // varvefs mounts `lowers` under `upper`
  };
  Kind kind = Kind::kDirectory;
  std::string directory;
  std::vector<std::string> lowers;  // top first
  std::string upper;                // empty: a read-only stack
  std::string work;
  bool thrown_away = false;  // `upper` is not wanted after the end
  bool own_upper = false;    // `upper` and `work` are the container's own in the store, made for it
  bool read_only = false;
  bool owners_in_xattrs =
      false;  // the daemon may give files to nobody and keeps all owners in extended attributes
};

struct ImageRoot {
  RootPlan root;
  image::ImageConfig config;  // empty for directories and layers
  std::string image_name;
  std::string image_digest;
};

// `options.image`: what begins with '/' or '.' is a directory; anything else is looked up in the store first and may then
// be a directory. upper and work of a container's own are left empty with own_upper set: they get their paths with the
// container's name.
ResultOrFailure<ImageRoot> find_image_root(const RunOptions& options, const std::string& store_directory);

}  // namespace varve::launcher
