#pragma once

// Dispatch: hands requests to libfuse, and sees to what libfuse 3.14 leaves out: flags of INIT's answer that it does not know,
// flags of requests that it does not pass on, and O_TMPFILE. What comes beside a request is told by extras().
// Thread rule: any thread; INIT comes before all other requests, alone. Ownership: borrows the session and the counts.

#include <functional>
#include <utility>

#include "fs/fuse/libfuse.h"
#include "fs/fuse/request_counts.h"

namespace varve::fuse {

// Beside the request that this thread is answering.
struct RequestExtras {
  bool kills_set_id = false;  // the caller may not keep set-id bits: FUSE_WRITE_KILL_SUIDGID and its like
  bool unnamed = false;       // CREATE stands for O_TMPFILE: the new file has no name
};
const RequestExtras& extras();

class Dispatch {
 public:
  // What INIT's answer should ask for, where the kernel offers it.
  struct Wishes {
    // Set-id bits are cleared here, when extras().kills_set_id says so (FUSE_HANDLE_KILLPRIV_V2). Without it the kernel asks for
    // a file's capabilities before each write.
    bool set_id = false;
    bool passthrough = false;
    bool rings = false;  // requests over io_uring
  };
  // Called before INIT is given to libfuse, when rings are wished for. `offered`: the kernel has them. Returns: whether they are open;
  // it ends the session when that should end the mount.
  using OpenRings = std::function<bool(bool offered)>;
  Dispatch(struct fuse_session* session, Wishes wishes, RequestCounts& counts, OpenRings open_rings = {})
      : session_(session), wishes_(wishes), counts_(counts), open_rings_(std::move(open_rings)) {}

  void process(const struct fuse_buf& request);
  // What the kernel was asked for and offered. All false before INIT.
  const Wishes& granted() const { return granted_; }

 private:
  void process_init(const struct fuse_buf& request);
  void note_offer(const struct fuse_buf& request);

  struct fuse_session* const session_;
  const Wishes wishes_;
  RequestCounts& counts_;
  const OpenRings open_rings_;
  Wishes granted_;
};

}  // namespace varve::fuse
