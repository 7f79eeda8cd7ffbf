#!/usr/bin/env python3
"""A FUSE file system that calls itself varvefs and answers nothing, or a process that calls an upper of its own another mount's.

Usage: foreign_mount.py mount MOUNTPOINT USER_ID   mounts it as that user would, prints "ready", and holds it until it is killed
       foreign_mount.py claim DIRECTORY MAJOR:MINOR   becomes user 64321, locks DIRECTORY, claims that mount for it, and so on
"""

import ctypes
import fcntl
import os
import signal
import sys

USER = 64321


def mount(mount_point, user):
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id={user},group_id={user},allow_other"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"varvefs", mount_point.encode(), b"fuse.varvefs", 0, options.encode()) != 0:
        raise OSError(ctypes.get_errno(), "mount")


def claim(directory, device):
    os.chown(directory, USER, USER)
    os.setgid(USER)
    os.setuid(USER)
    os.setxattr(directory, "user.varve.mount", device.encode())
    fcntl.flock(os.open(directory, os.O_RDONLY | os.O_DIRECTORY), fcntl.LOCK_EX)


{"mount": mount, "claim": claim}[sys.argv[1]](*sys.argv[2:])
print("ready", flush=True)
signal.pause()
