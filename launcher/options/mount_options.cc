#include "launcher/options/mount_options.h"

#include "launcher/options/option_list.h"

namespace varve::launcher {
void declare_mount_options(OptionList& list, MountOptions& options) {
  list.add_repeated(
      "-v,--volume", options.volumes,
      "[HOST-PATH|NAME:]TARGET[:ro,rw,noexec,nosuid,nodev,bind,rbind,nocopy]; NAME: a volume of "
      "the store",
      {.type = "[HOST-PATH|NAME:]TARGET[:FLAGS]"});
  list.add_repeated("--tmpfs", options.tmpfs,
                    "TARGET[:size=,mode=,uid=,gid=,nr_inodes=,ro,exec,suid,dev,notmpcopyup]",
                    {.type = "TARGET[:FLAGS]"});
  list.add_repeated("--mount", options.mounts,
                    "type=bind|volume|tmpfs,source=,target=[,readonly,tmpfs-size=,tmpfs-mode=,...]",
                    {.type = "FIELD[,FIELD...]"});
  list.add_repeated("--device", options.devices, "HOST[:CONTAINER][:rwm], a device node of the host",
                    {.type = "DEVICE[:CONTAINER][:rwm]"});
  list.add_option("--shm-size", options.shm_size,
                  "Size of /dev/shm: a number with b, k, m or g (default: 64m)", {.type = "BYTES"});
  list.add_option("--image-volume", options.image_volumes,
                  "What the image's own volumes become: anonymous (default), tmpfs or ignore",
                  {.type = "anonymous|tmpfs|ignore"});
  list.add_option("--read-only-tmpfs", options.read_only_tmpfs,
                  "With --read-only: /run, /tmp and /var/tmp can be written (default: true)");
}

}  // namespace varve::launcher
