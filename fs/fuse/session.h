#pragma once

// Session: one FUSE mount, served from a UnionView by a RequestLoop. fs/fuse is the only
// place that knows libfuse.
// Thread rule: mount and serve are called once, from one thread; the loop's threads are the session's own.
// Ownership: borrows the view, which must outlive it. The destructor unmounts.

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fs/base/result.h"
#include "fs/fuse/id_map.h"
#include "fs/fuse/passthrough.h"
#include "fs/fuse/ring_use.h"
#include "fs/fuse/status.h"
#include "fs/view/union_view.h"

namespace varve::fuse {

class Session {
 public:
  struct Options {
    std::string mount_point;  // a directory, or /dev/fd/N (fs/fuse/given_device.h)
    std::vector<std::string> kernel_options;
    IdMaps ids;  // between what the view stores and what the kernel sees
    bool read_only = false;
    bool keep_access_times = false;  // -o noatime; it excludes passthrough
    PassthroughUse passthrough = PassthroughUse::kAuto;
    RingUse uring = RingUse::kAuto;
    std::optional<std::uint32_t> wakeup_us;  // -o wakeup_us=: WakeLatency::Options
    bool debug = false;
    unsigned threads = 0;       // that answer requests, at most; 0: as RequestLoop chooses
    bool process_ends = false;  // soon after serve(): RequestLoop::Options
    // Makes of it what `varvefs --status` reads; null: the mount tells nothing. Called from any of the loop's threads.
    std::function<std::string(const MountStatus&)> describe;
    // Called once, before anything is served, with the device number (st_dev) of the mount; not when somebody else has mounted it.
    std::function<void(dev_t)> on_mounted;
    // Called once, from the loop, as soon as the mount answers.
    std::function<void()> on_ready;
  };

  static ResultOrFailure<std::unique_ptr<Session>> mount(view::UnionView& view, Options options);
  virtual ~Session() = default;

  // Serves until the file system is unmounted or SIGTERM, SIGINT or SIGHUP arrives; unmounts then.
  virtual StatusOrFailure serve() = 0;
};

}  // namespace varve::fuse
