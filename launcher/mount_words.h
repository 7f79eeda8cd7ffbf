#pragma once

// mount_words: the words of -v, --tmpfs, --mount and --device, as podman-run(1) spells them, read into plain values. Nothing
// is looked up on the host. Thread rule: stateless.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fs/base/result.h"

namespace varve::launcher {

struct MountEntry {
  enum class Kind {
    kBind,    // `source` is a path of the host
    kVolume,  // `source` is the directory of a volume: its tree is VOLUME/data, made at first use
    kTmpfs,
  };
  Kind kind = Kind::kBind;
  std::string source;            // a volume's, as parsed: its NAME, or empty for an anonymous one
  std::string target;            // in the container: absolute, no "." or "..", not "/", not in /proc or /sys
  std::uint64_t attributes = 0;  // MOUNT_ATTR_... of mount_setattr(2), for the mount and all below it
  bool recursive = true;         // a bind takes along what is mounted below its source
  bool copies_image = true;  // a volume that is new, or a tmpfs, begins with what the image has at the target
  std::vector<std::pair<std::string, std::string>>
      parameters;    // of the tmpfs: size, mode, uid, gid, nr_inodes
  std::string note;  // what was asked for and has no meaning here
};

// "[SOURCE:]TARGET[:OPTIONS]"
ResultOrFailure<MountEntry> parse_volume(const std::string& text);
// "TARGET[:OPTIONS]"; nosuid, nodev and noexec unless it says otherwise.
ResultOrFailure<MountEntry> parse_tmpfs(const std::string& text);
// "type=bind|volume|tmpfs,source=,target=,...", the type volume when none is given.
ResultOrFailure<MountEntry> parse_mount(const std::string& text);

// A path of the container made plain: absolute, without "." and "..", which are taken by their text as podman takes them;
// symbolic links are resolved when the container's root is there. `text` is what was typed, for the message.
ResultOrFailure<std::string> parse_target(const std::string& path, const std::string& text);

// Whether a plain path is `directory` or lies in it.
bool lies_in(std::string_view path, std::string_view directory);

struct DeviceWords {
  std::string host_path;
  std::string container_path;
  std::string access;  // of r, w and m
};
// "HOST[:CONTAINER][:ACCESS]"
ResultOrFailure<DeviceWords> parse_device(const std::string& text);

// "64m": a number with b, k, m or g in either case; without a letter bytes. `option` is named in the message.
ResultOrFailure<std::uint64_t> parse_byte_size(const std::string& text, const char* option);

}  // namespace varve::launcher
