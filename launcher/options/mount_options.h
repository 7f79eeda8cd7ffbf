#pragma once

// MountOptions: what a person typed of mounts and devices after `varve run`, before anything is looked up. A plain value.

#include <string>
#include <vector>

namespace varve::launcher {

class OptionList;

struct MountOptions {
  std::vector<std::string> volumes;  // -v [SOURCE:]TARGET[:OPTIONS]
  std::vector<std::string> tmpfs;    // --tmpfs TARGET[:OPTIONS]
  std::vector<std::string> mounts;   // --mount type=...,...
  std::vector<std::string> devices;  // --device HOST[:CONTAINER][:rwm]
  std::string shm_size;              // --shm-size; empty: kDefaultShmBytes of mount_plan.h
  std::string image_volumes = "anonymous";
  bool read_only_tmpfs = true;
};

void declare_mount_options(OptionList& list, MountOptions& options);

}  // namespace varve::launcher
