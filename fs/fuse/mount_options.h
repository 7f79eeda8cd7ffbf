#pragma once

// The `-o` string of varvefs, with the spelling that overlayfs and fuse-overlayfs use. Plain values; no I/O but reading
// the file that lowerlist= names.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/result.h"
#include "fs/fuse/id_map.h"
#include "fs/fuse/passthrough.h"
#include "fs/fuse/ring_use.h"
#include "fs/view/options.h"

namespace varve::fuse {

struct MountOptions {
  view::Options view;
  IdMaps ids;  // uidmapping=, gidmapping=
  bool read_only = false;
  PassthroughUse passthrough = PassthroughUse::kAuto;
  RingUse uring = RingUse::kAuto;
  std::optional<std::uint32_t> wakeup_us;   // as Session::Options
  unsigned threads = 0;                     // 0: chosen by the session
  std::string log_file;                     // background: where the log goes; empty: syslog
  std::vector<std::string> kernel_options;  // handed to mount(2) through libfuse: nodev, noatime, context=...
  std::vector<std::string> warnings;        // options that are not known; for the log
};

// Adds what one `-o` argument says to `options`. Colons and commas within paths are escaped with a backslash; empty
// fields are skipped; an unknown option is a warning.
// Returns: a Failure (EINVAL) for a value that makes no sense or for an option that would change what is shown and is
// not supported.
StatusOrFailure parse_mount_options(std::string_view text, MountOptions& options);

// What holds only for the whole: an upper needs a work directory, there must be something to mount, and so on.
StatusOrFailure check_mount_options(const MountOptions& options);

// An option that parse_mount_options() knows. For the manual.
struct KnownMountOption {
  std::string name;
  std::string value_shape;     // "on|off", "DIR"; empty: it has none, or none that matters
  bool has_no_effect = false;  // taken so that others' command lines work, or refused
};
std::vector<KnownMountOption> known_mount_options();

}  // namespace varve::fuse
