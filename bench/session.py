"""One run of bench/run or of a program of one row: inputs, peers, the client, and what is told of the machine."""

import contextlib
import ctypes
import datetime
import os
import signal
import subprocess
import sys

from benchlib import ROOT, cache_directory
from inputs import Inputs
from peers import Place, make_peers, run

CLONE_NEWNS = 0x00020000  # of <sched.h>
CROSSES_DEVICES = 3  # exit status of bench/client.cc
PACKAGES = ("fuse-overlayfs", "squashfs-tools", "squashfuse", "erofs-utils", "bubblewrap", "crun", "runc", "podman", "buildah",
            "libfuse3-3", "libzstd1", "git", "coreutils", "findutils", "tar", "dpkg", "mount")  # fmt: skip


def first_line(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else None


class Session:
    """What the rows work with: where, on what, with whom."""

    def __init__(self, quick, place, erofs_program=None):
        self.quick = quick
        self.place = place
        self.inputs = Inputs(place, quick)
        self.peers = make_peers(place, erofs_program)

    def client(self, *words):
        """{name: seconds} of one command of bench/client.cc. Raises FileExistsError where rename(2) says EXDEV."""
        done = subprocess.run([self.inputs.client(), *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              check=False)  # fmt: skip
        if done.returncode == CROSSES_DEVICES:
            raise FileExistsError("rename(2) crosses file systems")
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip() or f"the client ended with status {done.returncode}")
        lines = (line.split() for line in done.stdout.splitlines())
        return {name: int(value) if name == "answer" else int(value) / 1e9 for name, value in lines}

    def environment(self):
        """On what it was measured."""
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        with open("/proc/meminfo", encoding="ascii") as file:
            memory_kib = int(file.readline().split()[1])
        versions = {}
        for package in PACKAGES:
            versions[package] = first_line("dpkg-query", "-W", "-f", "${Version}", package)
        return {
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "commit": first_line("git", "-C", ROOT, "rev-parse", "HEAD"),
            "uncommitted": bool(first_line("git", "-C", ROOT, "status", "--porcelain", "--untracked-files=no")),
            "varvefs": first_line(self.peers["varvefs"].varvefs, "--version"),
            "kernel": os.uname().release,
            "machine": os.uname().machine,
            "processors": len(models),
            "processor": models[0] if models else None,
            "memory_kib": memory_kib,
            "file_system": first_line("stat", "-f", "-c", "%T", self.place.cache),
            "load": os.getloadavg()[0],
            "packages": versions,
        }


def leave_mount_namespace():
    """From here on our mounts are our own: a container that others start meanwhile takes no copy of them, which would keep daemons
    alive after the unmount; and none is left behind even if we are killed."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "making a mount namespace")
    run("mount", "--make-rprivate", "/")


@contextlib.contextmanager
def open_session(quick, binaries=None, erofs_program=None, directory=None):
    """A Session whose scratch directory and mounts are gone at the end. `directory`: in place of the cache's."""
    leave_mount_namespace()
    place = Place(directory or cache_directory(), binaries)
    try:
        yield Session(quick, place, erofs_program)
    finally:
        place.close()


def end_on_signals():
    """A signal that ends us does so by an exception, so that what is mounted is taken down."""

    def end(number, frame):
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
