#pragma once

// Helpers: threads of no processor in particular that compute for threads that are bound to one. Private to fs/fuse.
// Thread rule: run() from any thread; stop() from one, at the end.

#include <functional>
#include <memory>

namespace varve::fuse {

class Helpers {
 public:
  // At most so many threads, started when they are needed; more than there are processors help only those that wait for a disk, and
  // are started one each 10 ms.
  explicit Helpers(unsigned most);
  Helpers(const Helpers&) = delete;
  Helpers& operator=(const Helpers&) = delete;
  ~Helpers();

  // Has another thread do `work`, and waits until it is done.
  // Returns: false, with nothing done, when no thread is free for it.
  bool run(const std::function<void()>& work);
  // Lets the threads end, which have nothing to do any more. run() is not called again.
  void stop();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace varve::fuse
