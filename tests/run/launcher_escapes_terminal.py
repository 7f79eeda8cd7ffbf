#!/usr/bin/env python3
"""Runs a container on a terminal and has it try to type into that terminal (TIOCSTI) and to take it (TIOCSCTTY).

Usage: launcher_escapes_terminal.py VARVE ROOT HELPER    exit status 1 when a check fails.
"""

import os
import pty
import signal
import sys


def on_terminal(arguments):
    """What the program writes to a terminal that it has as its input and leads the session of."""
    pid, master = pty.fork()
    if pid == 0:
        os.execv(arguments[0], arguments)
    shown = b""
    while True:
        try:
            part = os.read(master, 4096)
        except OSError:  # EIO: nobody holds the other side
            break
        if not part:
            break
        shown += part
    os.waitpid(pid, 0)
    os.close(master)
    return shown.decode().replace("\r", "").strip()


def check(what, good, shown):
    print(f"{'good: ' if good else 'BAD:  '} {what}: {shown}")
    return bool(good)


def main():
    varve, root, helper = sys.argv[1:]
    with open("/proc/sys/dev/tty/legacy_tiocsti", encoding="ascii") as setting:
        typing_allowed = setting.read().strip() == "1"
    results = []

    def tries(attempt, *options):
        return on_terminal([varve, "run", "--rm", *options, root, "try", attempt])

    outside = on_terminal([helper, "take-terminal"])
    results.append(check("outside the terminal can be taken", outside == "reached", outside))
    shown = tries("take-terminal", "-i")
    results.append(check("not by a container that has it as its input", shown == "EPERM", shown))
    if typing_allowed:
        outside = on_terminal([helper, "tiocsti"])
        results.append(check("outside it can be typed into", outside.endswith("reached"), outside))
    else:
        print("not tried outside: typing into terminals, which dev.tty.legacy_tiocsti forbids")
    shown = tries("tiocsti", "-i")
    results.append(check("not by a container that has it as its input", shown in ("EPERM", "EIO"), shown))
    shown = tries("tiocsti", "-it")
    # Where it is allowed the character goes to the container's own terminal, which echoes it.
    results.append(check("with -t only the own one", shown in ("EIO", "EPERM") or typing_allowed, shown))
    shown = on_terminal([varve, "run", "--rm", "-i", root, "try", "open-r", "/dev/tty"])
    results.append(check("/dev/tty leads nowhere", shown == "ENXIO", shown))
    return 0 if all(results) else 1


if __name__ == "__main__":
    signal.alarm(120)
    sys.exit(main())
