#pragma once

// RequestLoop: takes the requests of one session from the kernel and has them answered, by a few threads in turns. One thread at
// a time, the leader, reads from the device. A request that is answered in microseconds it answers itself and goes on leading,
// so that a client that asks one thing after another always meets the same thread, warm and on its own processor: waking a
// thread on another one costs more than most answers (docs/decisions/0008). Before a request that takes longer the leader hands
// the lead to another thread. Should a short one take long after all, the lead is taken from it, so that no request waits
// behind it for more than two ticks, and none forever.
// libfuse's own loop wakes whichever thread has waited longest, and so another one for each request.
// Thread rule: run() is called once, from one thread, which blocks in it. Ownership: borrows the session.

#include "fs/fuse/libfuse.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "fs/fuse/receive_buffer.h"

namespace varve::fuse {

// Another way than the device on which requests of the same session come in. Thread rule: the loop calls it from one thread.
class OtherWay {
 public:
  virtual ~OtherWay() = default;
  // Requests taken so far.
  virtual std::uint64_t received() const = 0;
  // Whether all requests come by it that anybody waits for, so that the device brings notices only: FORGET, INTERRUPT.
  virtual bool serves() const = 0;
  // Whether it wants more ticks although no more requests come.
  virtual bool wants_ticks() const = 0;
  // Called every 10 ms, while there are requests of either way.
  virtual void tick() = 0;
};

class RequestLoop {
 public:
  struct Options {
    // At most so many, 0 for the default of 10. They are started when they are needed; those beyond the number of processors only
    // one each 10 ms, where they are needed for reads.
    unsigned threads = 0;
    // Called once, after INIT, the first request, was answered and before the next one is read from the device.
    std::function<void()> on_initialized;
    // Called every 10 ms while there are requests, with how many of both ways were taken so far, from the thread that on_quiet is called
    // from. Returns: whether it wants more ticks although no more requests come.
    std::function<bool(std::uint64_t received)> on_tick;
    // Called each time requests have ended for a while (10 to 20 ms, or until on_tick wants no more), from a thread that answers none.
    std::function<void()> on_quiet;
    // Called once, after the last tick and before requests at hand are waited for, from the same thread.
    std::function<void()> on_ending;
    // The process ends soon after run(). Threads that only wait for work are left asleep then: to wake them, for them to give back
    // their memory one by one and end, takes longer than the end of the process does.
    bool process_ends = false;
    // The most that a request brings behind its headers: what INIT agrees on as max_write.
    std::size_t payload_bytes = std::size_t{1} << 20;
    // Takes one request from the device; empty: read(2).
    DeviceRead read;
    // Answers one request; empty: libfuse does.
    std::function<void(const struct fuse_buf& request)> process;
    // Null: there is none. Who takes a request there calls expect_ticks().
    OtherWay* other_way = nullptr;
  };
  RequestLoop(struct fuse_session* session, Options options);
  RequestLoop(const RequestLoop&) = delete;
  RequestLoop& operator=(const RequestLoop&) = delete;
  ~RequestLoop();

  // Until the file system is unmounted or one of libfuse's signal handlers ends the session. SIGUSR1 is used to call threads
  // back from the device then. Returns: 0, or a negative errno: of the device, EAGAIN or ENOMEM when no thread can be started.
  int run();
  // There are requests: ticks are needed. Cheap while there are ticks. Thread rule: any thread, while run() runs.
  void expect_ticks();
  // Waits until all that the device has now has been taken and processed, 20 ms at most. Returns: whether there was any. For requests
  // that came the other way. Thread rule: any thread, while run() runs.
  bool await_device();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace varve::fuse
