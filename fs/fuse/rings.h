#pragma once

// Rings: takes requests of one session over io_uring (Linux 6.14), where the kernel has a queue for each processor. On each one a
// thread that is bound to it takes the requests of the processes there, one after the other, and answers the short ones itself: what
// a process asks is answered on its own processor, without waking another one. Long ones it gives to helpers, and waits
// (docs/decisions/0020).
// Each thread has one entry, so nothing lies with a thread that hangs but the request it hangs in. Before a long request, and when
// all threads of a queue have been at one request for a tick or more, the queue gets another thread.
// FORGET and INTERRUPT still come from the device.
// Thread rule: one thread opens, serves and stops; the loop's thread ticks. Ownership: borrows the session.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "fs/base/result.h"
#include "fs/fuse/libfuse.h"
#include "fs/fuse/request_loop.h"

namespace varve::fuse {

// Numbers in a list of the kernel's, such as "0-3,8"; 0 when it is none.
std::uint16_t count_in_list(const std::string& list);

class Rings final : public OtherWay {
 public:
  struct Options {
    std::size_t payload_bytes = 0;  // of the largest request or answer
    // Helpers at most, and so many threads beyond one for each processor; 0 for the default of 10.
    unsigned threads = 0;
    // As RequestLoop::Options.
    bool process_ends = false;
    std::function<void(const struct fuse_buf& request)> process;
    // Called for each request, before it is answered.
    std::function<void()> on_request;
    // Waits until what the kernel has forgotten so far is forgotten here. Returns: whether there was any.
    std::function<bool()> await_notices;
  };
  Rings(struct fuse_session* session, Options options);
  Rings(const Rings&) = delete;
  Rings& operator=(const Rings&) = delete;
  ~Rings() override;

  // Starts the threads and opens their rings. Returns: why there can be none.
  Status open();
  // Registers with the kernel, which uses rings from then on, or goes on with the device when it refuses one. Requires: INIT has
  // been answered with the flag for it, after open().
  void serve();
  // No request is taken any more; those at hand are answered. SIGUSR1 calls threads back, as RequestLoop has set it up. Does nothing when
  // nothing is open. Returns: 0, or the negative errno that ended the session.
  int stop();

  std::uint64_t received() const override;
  bool serves() const override;
  bool wants_ticks() const override;
  void tick() override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace varve::fuse
