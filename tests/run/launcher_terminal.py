#!/usr/bin/env python3
"""Plays the person before a terminal in which `varve run -it ROOT sh` runs.

Usage: launcher_terminal.py VARVE ROOT    exit status 1 when a check fails.
"""

import fcntl
import os
import pty
import signal
import struct
import sys
import termios
import time


class Terminal:
    """A terminal of 24 lines and 80 columns with a program in it, whose session it leads."""

    def __init__(self, arguments):
        self.seen = b""
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execv(arguments[0], arguments)
        self.resize(24, 80)
        self.before = termios.tcgetattr(self.master)

    def resize(self, lines, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, text):
        os.write(self.master, text.encode())

    def read_until(self, word, seconds=10):
        """Everything that was shown up to `word`; fails when it does not come in time."""
        os.set_blocking(self.master, False)
        deadline = time.monotonic() + seconds
        while word.encode() not in self.seen:
            if time.monotonic() > deadline:
                raise AssertionError(f"{word!r} did not come; there was {self.seen!r}")
            try:
                self.seen += os.read(self.master, 4096)
            except BlockingIOError:
                time.sleep(0.01)
        shown, _, self.seen = self.seen.partition(word.encode())
        return shown.decode(errors="replace")

    def end(self):
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)


def check(what, good):
    print(f"{'good: ' if good else 'BAD:  '} {what}")
    return bool(good)


def main():
    varve, root = sys.argv[1:]
    terminal = Terminal([varve, "run", "--rm", "-it", root, "sh"])
    results = []
    terminal.read_until("# ")
    terminal.type("stty size; echo do''ne\n")
    results.append(check("the size is handed on", "24 80" in terminal.read_until("done")))
    terminal.resize(40, 100)
    time.sleep(0.3)
    terminal.type("stty size; echo aga''in\n")
    results.append(check("a new size too", "40 100" in terminal.read_until("again")))
    during = termios.tcgetattr(terminal.master)
    results.append(check("keys come through raw", not during[3] & (termios.ICANON | termios.ECHO | termios.ISIG)))
    terminal.type("sleep 100; echo int''errupted\n")
    time.sleep(0.3)
    terminal.type("\x03")
    time.sleep(0.3)
    terminal.type("echo al''ive\n")
    shown = terminal.read_until("alive")
    results.append(check("Ctrl-C interrupts the command inside and not the launcher", "interrupted" not in shown))
    terminal.type("exit 6\n")
    results.append(check("the status is passed on", terminal.end() == 6))
    results.append(check("the terminal is as it was", termios.tcgetattr(terminal.master) == terminal.before))
    return 0 if all(results) else 1


if __name__ == "__main__":
    signal.alarm(60)
    sys.exit(main())
