#!/usr/bin/env python3
"""Writes archives that somebody made to hurt, and lets imagetool build a layer of each.

Usage: hostile_tars.py IMAGETOOL DIRECTORY     a line for each; exit status 1 when one is taken that must not be, is refused
without the words that tell why, takes more than 20 s or 1 GiB of memory (resident), or leaves something behind

What a tar library would not write, or one member at a time, is tried in tests/unit/image; here is what costs time and memory.
"""

import os
import resource
import subprocess
import sys
import tarfile

END = bytes(1024)
SECONDS = 20
MAX_RESIDENT_KIB = 1 << 20


def header(name, kind=tarfile.REGTYPE, size=0, records=None, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname, info.pax_headers = kind, size, link, records or {}
    return info.tobuf(tarfile.PAX_FORMAT)


def padded(content):
    return content + bytes(-len(content) % 512)


def records(content):
    """A member that holds pax records as they are."""
    info = tarfile.TarInfo("PaxHeaders/x")
    info.type, info.size = tarfile.XHDTYPE, len(content)
    return info.tobuf(tarfile.USTAR_FORMAT) + padded(content)


def record(key, value):
    rest = len(key) + len(value) + 3
    size = next(size for size in range(rest + 1, rest + 12) if len(str(size)) + rest == size)
    return b"%d %s=%s\n" % (size, key, value)


def sparse(size, table, content):
    """A sparse file of pax format 1.0 that says to have `size` bytes."""
    said = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "s", "GNU.sparse.realsize": str(size)}
    packed = padded(table) + content
    return header("GNUSparseFile.0/s", size=len(packed), records=said) + padded(packed) + END


def archives():
    """(name, bytes, what the message says; None: is taken)."""
    x = b"x" * 512
    yield "dot-dot", header("a/../../b") + END, '".."'
    yield "hard link out", header("a", tarfile.LNKTYPE, link="/../etc/passwd") + END, '".."'
    yield "hard link before its target", header("l", tarfile.LNKTYPE, link="t") + header("t") + END, None
    yield "hard link without a target", header("l", tarfile.LNKTYPE, link="t") + END, '"t", which is not in the archive'
    yield "hard link to itself", header("l", tarfile.LNKTYPE, link="l") + END, "leads to itself"
    links = b"".join(header(f"l{i}", tarfile.LNKTYPE, link=f"l{i + 1}") for i in range(100_000))
    yield "100000 hard links in a chain", links + header("l100000") + END, None
    yield "100000 hard links in a ring", links + header("l100000", tarfile.LNKTYPE, link="l0") + END, "leads to itself"
    yield "through a link", header("etc", tarfile.SYMTYPE, link="/etc") + header("etc/x") + END, "not a directory"
    yield "file as directory", header("a") + header("a/b") + END, "not a directory"
    yield "absolute", header("/etc/x") + END, None
    yield "a million directories deep", header("a/" * 10**6 + "f") + END, "too large"
    yield "16000 directories deep", header("a/" * 16000 + "f") + END, "more than 2000 names deep"
    yield "1999 directories deep", header("a/" * 1999 + "f") + END, None
    yield "60 times 1998 deep", b"".join(header(f"{i}/" + "a/" * 1998 + "f") for i in range(60)) + END, "implies more than"
    yield "size past the end", header("f", size=1 << 40) + x + END, "Truncated"
    yield "size over the next member", header("f", size=100_000) + x + header("g") + END, "Truncated"
    yield "8 EiB of hole", sparse((1 << 63) - 1, b"0\n", b""), None
    yield "pieces out of order", sparse(8192, b"2\n4096\n512\n0\n512\n", x + x), "s: its content has a piece at 0+512"
    yield "a piece past the end", sparse(8192, b"1\n81920\n512\n", x), "s: its content has a piece at 81920+512"
    yield "200 MB of pax records", records(record(b"comment", b"c" * 10**6) * 200) + header("f") + END, "too large"
    yield "20000 pax headers", records(record(b"SCHILY.xattr.user.a", b"v") * 100) * 20000 + header("f") + END, "no usable name"
    yield "30000 attributes", records(b"".join(record(b"SCHILY.xattr.user.%d" % i, b"v") for i in range(30000))) + header("f") + END, None
    yield "60000 times the same name", (header("f", size=512) + x) * 60000 + END, None


def limit_memory():
    # Room for the program and its threads' stacks beside what it may really use.
    resource.setrlimit(resource.RLIMIT_AS, (4 * MAX_RESIDENT_KIB * 1024,) * 2)


def run(*command):
    """(exit status, standard error, most memory that was resident in KiB)"""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=limit_memory)
    try:
        said = process.communicate(timeout=SECONDS)[1].decode(errors="replace")
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return -1, f"still running after {SECONDS} s", 0
    return process.returncode, said, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def fault(imagetool, archive, layer, wanted):
    """What was wrong, or nothing."""
    status, said, resident = run(imagetool, "layer", "build", archive, "-o", layer)
    if resident > MAX_RESIDENT_KIB:
        return f"{resident} KiB of memory"
    if wanted is not None:
        if status != 1 or wanted not in said or archive not in said and "its content" not in said:
            return f"exit status {status}, {said!r}, not 1 and {wanted!r}"
        return "a layer was left" if os.path.exists(layer) else None
    if status != 0:
        return f"exit status {status}, {said!r}"
    said = [run(imagetool, "layer", *command) for command in (("verify", layer), ("extract", layer, "--tar", "/dev/null"))]
    os.unlink(layer)
    return f"the layer made of it: {said}" if any(status != 0 for status, _, _ in said) else None


def main(imagetool, directory):
    faults = tried = 0
    for name, content, wanted in archives():
        archive = os.path.join(directory, "a.tar")
        with open(archive, "wb") as file:
            file.write(content)
        found = fault(imagetool, archive, os.path.join(directory, "a.layer"), wanted)
        print(f"{name}: {found or ('refused' if wanted else 'contained')}")
        faults += found is not None
        tried += 1
    left = [name for name in os.listdir(directory) if name != "a.tar"]
    if left:
        print(f"left behind: {left}")
    sys.exit(1 if faults or left or not tried else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
