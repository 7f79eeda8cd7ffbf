#pragma once

// TerminalRelay: carries bytes between the person's terminal (the launcher's stdin and stdout) and the container's
// (its master side): raw mode while it lives, size handed on, everything restored at the end.
// Thread rule: one thread, which polls; it never waits for input, and for output only on the launcher's own stdout.

#include <poll.h>
#include <termios.h>

#include <optional>
#include <string>
#include <vector>

#include "fs/base/unique_fd.h"
#include "launcher/outside/container_log.h"

namespace varve::launcher {

class TerminalRelay {
 public:
  // `interactive`: stdin is carried in, and set to raw mode when it is a terminal.
  TerminalRelay(UniqueFd master, bool interactive);
  // Of a detached container: what it says goes to `log`, which is borrowed and outlives the relay; nothing is carried in.
  TerminalRelay(UniqueFd master, ContainerLog& log);
  ~TerminalRelay();
  TerminalRelay(TerminalRelay&&) = delete;
  TerminalRelay& operator=(TerminalRelay&&) = delete;

  // What to poll for now.
  void add_to(std::vector<struct pollfd>& polled) const;
  // Does what can be done for the descriptors that are ready; all of `polled` may be given.
  void handle(const std::vector<struct pollfd>& polled);
  // The launcher's terminal has changed its size (SIGWINCH).
  void resize();
  // After the container has ended: what is still on the way out, up to the end.
  void drain();

 private:
  void read_input();
  void write_input();
  bool copy_output();

  UniqueFd master_;
  ContainerLog* log_ = nullptr;  // null: what comes out goes to stdout
  bool reads_stdin_ = false;
  std::string pending_input_;
  std::optional<struct termios> saved_;
};

}  // namespace varve::launcher
