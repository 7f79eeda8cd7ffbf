#include "launcher/outside/terminal_relay.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>

#include "fs/base/write_all.h"

namespace varve::launcher {
namespace {

constexpr char kEndOfFile = 4;  // VEOF of a new terminal: Ctrl-D

}  // namespace

TerminalRelay::TerminalRelay(UniqueFd master, bool interactive)
    : master_(std::move(master)), reads_stdin_(interactive) {
  ::fcntl(master_.get(), F_SETFL, O_RDWR | O_NONBLOCK);
  resize();
  struct termios current = {};
  if (!interactive || ::tcgetattr(STDIN_FILENO, &current) != 0) return;
  saved_ = current;
  ::cfmakeraw(&current);
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &current);
}

TerminalRelay::TerminalRelay(UniqueFd master, ContainerLog& log) : master_(std::move(master)), log_(&log) {
  ::fcntl(master_.get(), F_SETFL, O_RDWR | O_NONBLOCK);
}

TerminalRelay::~TerminalRelay() {
  if (saved_) ::tcsetattr(STDIN_FILENO, TCSADRAIN, &*saved_);
}

void TerminalRelay::add_to(std::vector<struct pollfd>& polled) const {
  if (!master_.valid()) return;
  const int events = POLLIN | (pending_input_.empty() ? 0 : POLLOUT);
  polled.push_back({master_.get(), static_cast<short>(events), 0});
  if (reads_stdin_ && pending_input_.empty()) polled.push_back({STDIN_FILENO, POLLIN, 0});
}

void TerminalRelay::handle(const std::vector<struct pollfd>& polled) {
  for (const struct pollfd& one : polled) {
    if (one.revents == 0) continue;
    if (reads_stdin_ && one.fd == STDIN_FILENO) read_input();
    if (one.fd != master_.get()) continue;
    if ((one.revents & POLLOUT) != 0) write_input();
    if ((one.revents & (POLLIN | POLLHUP | POLLERR)) != 0) copy_output();
  }
}

void TerminalRelay::resize() {
  struct winsize size = {};
  if (::ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0 || ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) {
    ::ioctl(master_.get(), TIOCSWINSZ, &size);
  }
}

void TerminalRelay::drain() {
  while (master_.valid() && copy_output()) {
  }
}

void TerminalRelay::read_input() {
  std::array<char, 4096> bytes{};
  const ssize_t got = ::read(STDIN_FILENO, bytes.data(), bytes.size());
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (got > 0) {
    pending_input_.assign(bytes.data(), static_cast<std::size_t>(got));
  } else {
    reads_stdin_ = false;
    pending_input_.assign(1, kEndOfFile);
  }
  write_input();
}

void TerminalRelay::write_input() {
  const ssize_t written = ::write(master_.get(), pending_input_.data(), pending_input_.size());
  if (written > 0) pending_input_.erase(0, static_cast<std::size_t>(written));
}

// Returns: whether there may be more.
bool TerminalRelay::copy_output() {
  std::array<char, 16384> bytes{};
  const ssize_t got = ::read(master_.get(), bytes.data(), bytes.size());
  if (got > 0) {
    const auto size = static_cast<std::size_t>(got);
    if (log_ != nullptr) {
      log_->write(LogStream::kOut, {bytes.data(), size});
    } else {
      // Nobody may read any more; the container goes on.
      [[maybe_unused]] const Status ignored = write_all(STDOUT_FILENO, std::string_view(bytes.data(), size));
    }
    return true;
  }
  if (got < 0 && errno == EINTR) return true;
  // EIO: every process has closed the slave side. EAGAIN: nothing there for now.
  if (got == 0 || errno != EAGAIN) master_.reset();
  return false;
}

}  // namespace varve::launcher
