#pragma once

// VarvefsProcess: a varvefs in the foreground with any command line, for tests that a MountedStack, which makes its own, does not
// fit. Thread rule: one thread. Ownership: owns the process and its mount.

#include <gtest/gtest.h>
#include <sys/types.h>

#include <string>
#include <vector>

namespace varve::test {

class VarvefsProcess {
 public:
  VarvefsProcess() = default;
  ~VarvefsProcess() { end(); }
  VarvefsProcess(const VarvefsProcess&) = delete;
  VarvefsProcess& operator=(const VarvefsProcess&) = delete;

  // `words`: the program and its arguments, -f among them. Waits until `mount_point` answers. `preload`: for LD_PRELOAD, null: none.
  testing::AssertionResult start(const std::vector<std::string>& words, const std::string& mount_point,
                                 const char* preload = nullptr);
  // Unmounts. Returns: the exit status; 128 + n by a signal; 0 when none runs.
  int end();
  // What the last one said on standard error.
  std::string said() const;

 private:
  pid_t process_ = -1;
  std::string mount_point_;
  std::string log_;
};

}  // namespace varve::test
