#pragma once

// What the soak programs share: their command line, the tree they work on, repeatable random choices, and the record of the
// last operations that a failure is told with. Thread rule: one thread; a child process has its own copy.

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

#include "tests/support/mounted/mounted_stack.h"

namespace varve::test {

// A promise that was broken; `what()` tells which. Ends the run.
struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Throws Fault with errno unless `result` is not negative. Returns: it.
long expect_ok(long result, const std::string& what);

// What one round does.
struct RoundPlan {
  std::uint64_t seed = 0;
  bool native = false;      // on a plain directory: what fails there is a fault of the test
  std::int64_t end_ns = 0;  // of now_ns(): when to stop early
};
struct RoundResult {
  std::string fault;  // empty when all promises were kept
  std::uint64_t operations = 0;
};

// Splitmix64: the same choices for the same seed, on every machine.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next();
  // 0 to bound - 1. Requires: bound > 0.
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }
  // From `low` to `high`, both possible.
  std::uint64_t between(std::uint64_t low, std::uint64_t high) { return low + below(high - low + 1); }
  bool one_in(std::uint64_t count) { return below(count) == 0; }
  // Bytes as files have them: noise, text, one byte repeated, or zeros.
  std::string bytes(std::size_t size_bytes);

 private:
  std::uint64_t state_;
};

// The last operations, oldest first, numbered from 1.
class OperationLog {
 public:
  void add(std::string operation);
  std::uint64_t count() const { return count_; }
  std::string text() const;

 private:
  static constexpr std::size_t kKept = 60;
  std::deque<std::string> last_;
  std::uint64_t count_ = 0;
};

// A stack of two lowers under an upper; or, natively, one plain directory in place of all of them.
class SoakTree {
 public:
  struct Shape {
    bool native = false;
    bool layer_files = true;  // else plain directories as lowers
    bool passthrough = true;  // where the kernel allows it; else every read and write comes to the daemon
  };
  explicit SoakTree(Shape shape);
  // Where lower `index` is filled before begin(); 0 is the top. Natively the tree itself: fill 1 first.
  std::string lower(std::size_t index) const;
  std::string root() const;
  std::string at(const std::string& path) const { return root() + "/" + path; }
  // These throw Fault when the daemon does not do as told, and do nothing natively.
  void begin();
  void remount();         // Requires: no open descriptor in the tree
  void kill_and_mount();  // descriptors from before are dead afterwards
  // Requires: all files are removed, and their descriptors closed. Throws Fault when the work directory still keeps something
  // of them.
  void expect_nothing_kept() const;

 private:
  std::unique_ptr<MountedStack> stack_;  // null natively
  std::unique_ptr<ScratchDirectory> native_;
};

// main() of a soak program: reads the command line, plays rounds with the seeds S, S + 1, ... until the time is over or one
// finds a fault, and tells how to play that one again. Returns: the exit status; 77 when nothing can be mounted here.
int run_soak(int argc, char** argv, const std::function<RoundResult(const RoundPlan&)>& round);

std::int64_t now_ns();  // of the monotonic clock

}  // namespace varve::test
