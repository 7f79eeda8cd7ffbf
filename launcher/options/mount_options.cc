#include "launcher/options/mount_options.h"

#include <CLI/CLI.hpp>

#include "launcher/options/repeated.h"

namespace varve::launcher {
void declare_mount_options(CLI::App& app, MountOptions& options) {
  add_repeated(app, "-v,--volume", options.volumes,
               "[HOST-PATH|NAME:]TARGET[:ro,rw,noexec,nosuid,nodev,bind,rbind,nocopy]; NAME: a volume of "
               "the store");
  add_repeated(app, "--tmpfs", options.tmpfs,
               "TARGET[:size=,mode=,uid=,gid=,nr_inodes=,ro,exec,suid,dev,notmpcopyup]");
  add_repeated(app, "--mount", options.mounts,
               "type=bind|volume|tmpfs,source=,target=[,readonly,tmpfs-size=,tmpfs-mode=,...]");
  add_repeated(app, "--device", options.devices, "HOST[:CONTAINER][:rwm], a device node of the host");
  app.add_option("--shm-size", options.shm_size,
                 "Size of /dev/shm: a number with b, k, m or g (default: 64m)");
  app.add_option("--image-volume", options.image_volumes,
                 "What the image's own volumes become: anonymous (default), tmpfs or ignore");
  app.add_option("--read-only-tmpfs", options.read_only_tmpfs,
                 "With --read-only: /run, /tmp and /var/tmp can be written (default: true)");
}

}  // namespace varve::launcher
