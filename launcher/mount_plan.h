#pragma once

// MountPlan: what is mounted in a container besides its root, /proc, /sys and /dev: binds, volumes, tmpfs and devices, in the
// order in which they are mounted. Decided and checked; inside/volumes.h carries it out. Thread rule: plain values.
//
// Volumes lie in the store, each in a directory of its own:
//
//   STORE/volumes/NAME/data               a named one: made at first use, never removed with a container
//   STORE/containers/CONTAINER/volumes/N  an anonymous one: belongs to its container, goes with it
//
// `data` appears, filled, by one rename, so a kill while it is filled leaves no half of it.

#include <cstdint>
#include <string>
#include <vector>

#include "fs/base/result.h"
#include "launcher/mount_words.h"
#include "launcher/options/mount_options.h"

namespace varve::launcher {

// A node of the host that appears in the container.
struct DevicePlan {
  std::string path;            // on the host, links followed
  std::string container_path;  // as MountEntry::target
  char type = 'c';             // 'c' or 'b'
  unsigned major_number = 0;
  unsigned minor_number = 0;
  std::string access;  // of r, w and m
};

// As podman and docker have it.
constexpr std::uint64_t kDefaultShmBytes = 64 << 20;

struct MountPlan {
  std::vector<MountEntry> mounts;  // what lies above comes before what lies below
  std::vector<DevicePlan> devices;
  std::uint64_t shm_bytes = kDefaultShmBytes;  // 0: no limit

  bool has_anonymous_volumes = false;  // the container's directory in the store is needed
};

// What a mount plan depends on besides its options.
struct MountContext {
  std::vector<std::string> image_volumes;  // ImageConfig::volumes; not trusted
  bool read_only_root = false;
  bool own_mounts = true;           // the container has its own mount namespace
  bool own_ipc = true;              // ... and its own shared memory
  bool volumes_fit = true;          // root inside may own what lies in the store
  std::string store_directory;      // absolute
  std::string container_directory;  // ContainerStore::directory_of
};

// Resolves sources on the host, follows their symbolic links and checks that they exist. Makes nothing.
ResultOrFailure<MountPlan> plan_mounts(const MountOptions& options, const MountContext& context);

// For --dry-run: a line for each mount and device, in order.
std::string to_text(const MountPlan& plan);

}  // namespace varve::launcher
