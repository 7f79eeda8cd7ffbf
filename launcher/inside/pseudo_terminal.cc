#include "launcher/inside/pseudo_terminal.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>

#include "launcher/explain.h"
#include "launcher/kernel/mount_calls.h"

namespace varve::launcher {
namespace {

constexpr const char* kMaking = "making a terminal for the container";

ResultOrFailure<PseudoTerminal> open_both_sides(UniqueFd master) {
  if (!master.valid()) return explain(Errno::last(), kMaking, "ptmx");
  PseudoTerminal terminal;
  int locked = 0;
  if (::ioctl(master.get(), TIOCSPTLCK, &locked) != 0) return explain(Errno::last(), kMaking, "unlocking");
  // By the master and not by name: names can be overmounted.
  terminal.slave.reset(::ioctl(master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!terminal.slave.valid()) return explain(Errno::last(), kMaking, "opening its slave side");
  terminal.master = std::move(master);
  return terminal;
}

}  // namespace

ResultOrFailure<PseudoTerminal> make_terminal(int terminals_fd, int dev_fd) {
  VARVE_ASSIGN(PseudoTerminal terminal,
               open_both_sides(UniqueFd(::openat(terminals_fd, "ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC))));
  const Result<UniqueFd> place = make_file_in(dev_fd, "console");
  if (!place.ok()) return explain(place.error(), kMaking, "/dev/console");
  const Result<UniqueFd> copy = copy_mount_of(terminal.slave.get());
  if (!copy.ok()) return explain(copy.error(), kMaking, "/dev/console");
  const Status attached = attach_mount(copy->get(), place->get());
  if (!attached.ok()) return explain(attached.error(), kMaking, "/dev/console");
  return terminal;
}

ResultOrFailure<PseudoTerminal> make_joined_terminal() {
  // /dev is the container's to change: no symbolic link, no wait for the other end of a FIFO, and nothing but a terminal.
  const UniqueFd root(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  Result<UniqueFd> master = open_beneath(root.get(), "/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK);
  if (!master.ok()) return explain(master.error(), kMaking, "/dev/pts/ptmx");
  if (!is_on_file_system(master->get(), DEVPTS_SUPER_MAGIC)) {
    return refuse(kMaking, "/dev/pts/ptmx", "it is no terminal", "the container has changed its /dev");
  }
  return open_both_sides(std::move(master).value());
}

ResultOrFailure<PseudoTerminal> make_host_terminal() {
  return open_both_sides(UniqueFd(::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)));
}

}  // namespace varve::launcher
