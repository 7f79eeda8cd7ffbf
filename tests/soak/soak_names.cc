// soak_names: several processes change the same few names of a mount at once; then the tree must be whole, be the same after a
// remount, and be removable. See NamesWorker, and docs/testing.md.

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>

#include "tests/soak/names_worker.h"
#include "tests/soak/tree_walk.h"
#include "tests/support/mounted/file_tools.h"

namespace varve::test {
namespace {

constexpr std::size_t kWorkers = 8;
constexpr std::int64_t kHangNs = 90'000'000'000;  // no operation of any worker for so long

// What the workers and their parent see of each other: shared memory.
struct Board {
  struct Worker {
    std::atomic<std::uint64_t> operations{0};
    std::array<char, 200> now{};  // what it does; read when it hangs or broke something
  };
  std::atomic<bool> stop{false};
  std::array<Worker, kWorkers> workers;
};

class SharedBoard {
 public:
  SharedBoard() {
    void* memory = ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw Fault("no memory to share with the workers");
    board_ = new (memory) Board;
  }
  SharedBoard(const SharedBoard&) = delete;
  SharedBoard& operator=(const SharedBoard&) = delete;
  ~SharedBoard() { ::munmap(board_, sizeof(Board)); }
  Board* operator->() const { return board_; }
  std::uint64_t operations() const {
    std::uint64_t all = 0;
    for (const Board::Worker& worker : board_->workers) all += worker.operations;
    return all;
  }
  std::string text() const {
    std::string text;
    for (std::size_t i = 0; i < kWorkers; ++i) {
      const Board::Worker& worker = board_->workers[i];
      text +=
          fmt::format("worker {} after {} operations: {}\n", i, worker.operations.load(), worker.now.data());
    }
    return text;
  }

 private:
  Board* board_ = nullptr;
};

class NamesSoak {
 public:
  explicit NamesSoak(const RoundPlan& plan)
      : plan_(plan),
        random_(plan.seed),
        tree_({.native = plan.native, .layer_files = !random_.one_in(4), .passthrough = random_.one_in(2)}) {}

  // Throws Fault at the first broken promise.
  void run() {
    seed();
    tree_.begin();
    make_directories(tree_.at("up/c"));
    write_file(tree_.at("up/a"), random_.bytes(30'000));
    work();
    look_at_all();
    remove_all();
  }
  std::uint64_t operations() const { return board_.operations(); }
  std::string workers() const { return board_.text(); }

 private:
  // Lower files and directories; "low/a", "both/c" and "both/d" are one file.
  void seed() {
    const std::string below = tree_.lower(1);
    const std::string above = tree_.lower(0);
    write_file(below + "/low/a", random_.bytes(300'000));
    write_file(below + "/low/b", random_.bytes(5'000));
    write_file(below + "/low/c/in", random_.bytes(60'000));
    write_file(below + "/both/a", random_.bytes(10'000));
    write_file(below + "/both/b/in", random_.bytes(20'000));
    for (const char* other : {"/both/c", "/both/d"}) {
      expect_ok(::link((below + "/low/a").c_str(), (below + other).c_str()), "link in the layer");
    }
    write_file(above + "/both/a", random_.bytes(40'000));
    make_directories(above + "/both/b");
    make_directories(above + "/low/d");
  }

  [[noreturn]] void be_worker(std::size_t index, std::uint64_t length) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    Board::Worker& mine = board_->workers[index];
    NamesWorker worker(tree_.root(), plan_.seed * kWorkers + index, [&mine](const std::string& what) {
      std::snprintf(mine.now.data(), mine.now.size(), "%s", what.c_str());
    });
    try {
      while (mine.operations < length && !board_->stop && now_ns() < plan_.end_ns) {
        worker.step();
        ++mine.operations;
      }
    } catch (const Fault& fault) {
      board_->stop = true;
      fmt::print(stderr, "The last operations of worker {}:\n{}{}\n", index, worker.last_operations(),
                 fault.what());
      std::fflush(stderr);
      ::_exit(1);
    }
    ::_exit(0);
  }

  // All workers at once, until each has done its part.
  void work() {
    // In short rounds names of the layers are left, in long ones there is time for what is rare.
    const std::uint64_t length = random_.one_in(2) ? random_.between(2, 40) : random_.between(40, 800);
    std::array<pid_t, kWorkers> children{};
    std::fflush(nullptr);
    for (std::size_t i = 0; i < kWorkers; ++i) {
      children[i] = ::fork();
      if (children[i] == 0) be_worker(i, length);
    }
    std::string fault;
    std::uint64_t seen = 0;
    std::int64_t seen_ns = now_ns();
    for (std::size_t left = kWorkers; left > 0;) {
      int status = 0;
      const pid_t ended = ::waitpid(-1, &status, WNOHANG);
      for (std::size_t i = 0; ended > 0 && i < kWorkers; ++i) {
        if (children[i] != ended) continue;
        children[i] = 0;
        --left;
        if (status != 0 && fault.empty())
          fault = fmt::format("worker {} ended with wait status {}", i, status);
      }
      if (board_.operations() != seen) {
        seen = board_.operations();
        seen_ns = now_ns();
      } else if (now_ns() - seen_ns > kHangNs) {
        for (const pid_t child : children) {
          if (child > 0) ::kill(child, SIGKILL);
        }
        throw Fault("the mount hangs");
      }
      if (ended <= 0) ::usleep(2'000);
    }
    if (!fault.empty()) throw Fault(fault);
  }

  void look_at_all() {
    const InodeNumbers numbers = walk(tree_.root());
    const Snapshot before = snapshot(tree_.root());
    const bool kills = random_.one_in(3);
    if (kills) {
      tree_.kill_and_mount();
    } else {
      tree_.remount();
    }
    const char* when = kills ? "kill -9 and mount" : "unmount and mount";
    const std::string changed = differences(before, snapshot(tree_.root()));
    if (!changed.empty()) throw Fault(fmt::format("after {} the tree is another:\n{}", when, changed));
    if (walk(tree_.root()) != numbers)
      throw Fault(fmt::format("after {} the inode numbers are others", when));
  }

  void remove_all() {
    for (const char* top : NamesWorker::kTop) {
      const ProgramResult removed = varve::test::run({"rm", "-rf", tree_.at(top)});
      if (removed.exit_status != 0 || !removed.err.empty()) {
        throw Fault(
            fmt::format("rm -rf: status {} (142: a minute was over): {}", removed.exit_status, removed.err));
      }
    }
    for (int i = 0; i < 2; ++i) {
      const std::vector<std::string> left = names_in(tree_.root());
      if (!left.empty()) throw Fault(fmt::format("rm -rf left {}", left.front()));
      if (stat_of(tree_.root()).st_nlink != 2) throw Fault("the empty root does not tell 2 links");
      tree_.remount();
      tree_.expect_nothing_kept();
    }
  }

  RoundPlan plan_;
  Random random_;
  SoakTree tree_;
  SharedBoard board_;
};

}  // namespace
}  // namespace varve::test

int main(int argc, char** argv) {
  using namespace varve::test;
  return run_soak(argc, argv, [](const RoundPlan& plan) {
    NamesSoak soak(plan);
    std::string fault;
    try {
      soak.run();
    } catch (const Fault& broken) {
      fault = soak.workers() + broken.what();
      ADD_FAILURE() << broken.what();  // the log of the daemon is shown, too
    }
    return RoundResult{.fault = fault, .operations = soak.operations()};
  });
}
