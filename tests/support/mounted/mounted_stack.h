#pragma once

// MountedStack: a stack of layers in a scratch directory, mounted by the real varvefs. Fill lower(i) first,
// mount(), then look through at(path). The programs are those of the build under test (environment variable
// VARVE_BIN); VARVE_TEST_MOUNT_OPTIONS adds to -o of every stack. Thread rule: one thread. Ownership: owns the directory, the mount and the daemon; its
// destructor ends all three.

#include <gtest/gtest.h>
#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "tests/support/mounted/file_tools.h"
#include "tests/support/mounted/rights.h"

namespace varve::test {

struct StackShape {
  std::size_t lowers = 2;
  bool layer_files = false;  // lowers are built into layer files by imagetool before the first mount
  bool upper = true;
  std::string options = {};   // more of -o, comma separated
  bool debug = false;         // -d: every request stands in log()
  std::string writable = {};  // the directory that upper and work lie in; empty: the scratch directory
};

// Why mounted tests cannot run here; null when they can.
const char* why_no_mounts();

// The path of a program of the build under test.
std::string program(std::string_view name);

class MountedStack {
 public:
  explicit MountedStack(StackShape shape = {});
  ~MountedStack();
  MountedStack(const MountedStack&) = delete;
  MountedStack& operator=(const MountedStack&) = delete;

  // The directory that lower `index` is made from; 0 is the top of the stack.
  std::string lower(std::size_t index, std::string_view path = {}) const;
  // What varvefs is given for it: that directory, or the layer file built from it.
  std::string lower_argument(std::size_t index) const;
  std::string upper(std::string_view path = {}) const;
  std::string work() const;
  std::string mount_point() const;
  std::string at(std::string_view path) const { return mount_point() + "/" + std::string(path); }
  std::string scratch() const { return scratch_.path(); }
  // Bytes that upper and work take together.
  std::int64_t writable_bytes() const { return bytes_used(upper()) + bytes_used(work()); }

  // Starts `varvefs -f` and waits until the mount answers.
  testing::AssertionResult mount();
  // Unmounts as umount(8) does and waits for the daemon, which must end with status 0.
  testing::AssertionResult unmount();
  testing::AssertionResult remount();
  // SIGKILL, then takes away the dead mount.
  void kill();
  // SIGTERM. Returns: the daemon's exit status.
  int terminate();

  bool is_mounted() const;
  pid_t daemon() const { return daemon_; }
  // All that daemons of this stack have written to standard error.
  std::string log() const { return read_file(scratch_.path() + "/log"); }
  // The words that mount() runs.
  std::vector<std::string> command() const;
  // Builds the layer files that are missing. mount() does so too.
  testing::AssertionResult build_layers();

 private:
  int wait_for_daemon();

  StackShape shape_;
  ScratchDirectory scratch_;
  pid_t daemon_ = -1;
};

// Names of suites that run with plain directories (false) and with layer files (true) as lowers.
std::string lower_kind_name(const testing::TestParamInfo<bool>& layer_files);

}  // namespace varve::test
