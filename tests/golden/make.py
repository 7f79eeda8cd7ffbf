#!/usr/bin/python3
"""Makes golden layers and what a reader must find in them, for tests/golden/golden_test.py: NAME.layer and NAME.json;
NAME-delta.layer, whose files inherit from NAME.layer, with NAME-delta.json and NAME-delta.parents, which says so; and
NAME-large.layer, with frames of 2 MiB and enough metadata for a reader to take it page by page.

Usage: make.py IMAGETOOL DIRECTORY NAME
The listing comes from the description of the tree below, not from a reader, so that it proves something. The layer is made
through a tar archive. Run it when the format is frozen, or grows; files that are in the repository are never made again.
"""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile

TIME_NS = 1_234_567_890_123_456_789


def text(size, seed):
    """Shrinks well, and is the same with every version of Python."""
    words = [hashlib.sha256(b"%d %d" % (seed, i)).hexdigest()[:5] for i in range(50)]
    return " ".join(words[(i * i + seed) % 50] for i in range(size // 6 + 1)).encode()[:size]


def noise(size, seed):
    parts = (hashlib.sha256(b"%d:%d" % (seed, i)).digest() for i in range(size // 32 + 1))
    return b"".join(parts)[:size]


class Golden:
    """Collects members of an archive and, beside each, its entry of the listing."""

    def __init__(self):
        self.bytes = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.bytes, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8",
                                errors="surrogateescape")
        self.listing = {}

    def add(self, path, kind, mode=0o644, content=b"", time_ns=TIME_NS, owner=(0, 0), xattrs=None, **fields):
        """An object; `fields`: of TarInfo. Returns its entry of the listing."""
        info = tarfile.TarInfo(path)
        info.type, info.mode, info.size = kind, mode, len(content)
        info.uid, info.gid = owner
        for field, value in fields.items():
            setattr(info, field, value)
        sign, whole = ("-", -time_ns) if time_ns < 0 else ("", time_ns)
        info.pax_headers = dict(fields.get("pax_headers", {}), mtime=f"{sign}{whole // 10**9}.{whole % 10**9:09}")
        for name, value in (xattrs or {}).items():
            info.pax_headers["SCHILY.xattr." + name] = os.fsdecode(value)
        self.tar.addfile(info, io.BytesIO(content))
        entry = {"path": "/" + path.strip("./"), "mode": f"{mode:04o}", "uid": owner[0], "gid": owner[1],
                 "mtime_ns": time_ns}
        if xattrs:
            entry["xattrs"] = {name: value.hex() for name, value in xattrs.items()}
        self.listing[entry["path"]] = entry
        return entry

    def directory(self, path, mode=0o755, **more):
        self.add(path, tarfile.DIRTYPE, mode, **more)["type"] = "directory"

    def file(self, path, content, **more):
        entry = self.add(path, tarfile.REGTYPE, content=content, **more)
        entry.update(type="regular", size=len(content), sha256=hashlib.sha256(content).hexdigest())

    def sparse(self, path, size, pieces):
        """`pieces`: (offset, bytes), all multiples of 4096 but the last one's size. As GNU tar's pax format 1.0 has them."""
        table = "\n".join([str(len(pieces))] + [f"{at}\n{len(data)}" for at, data in pieces]) + "\n"
        packed = table.encode() + bytes(-len(table) % 512) + b"".join(data for _, data in pieces)
        whole = bytearray(size)
        for at, data in pieces:
            whole[at:at + len(data)] = data
        records = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": path,
                   "GNU.sparse.realsize": str(size)}
        entry = self.add(path, tarfile.REGTYPE, content=packed, pax_headers=records)
        entry.update(type="regular", size=size, sha256=hashlib.sha256(whole).hexdigest(),
                     data=[[at, len(data)] for at, data in pieces])

    def hard_link(self, path, target):
        info = tarfile.TarInfo(path)
        info.type, info.linkname = tarfile.LNKTYPE, target
        self.tar.addfile(info)
        self.listing["/" + path] = dict(self.listing["/" + target], path="/" + path, same_as="/" + target)

    def symlink(self, path, target, **more):
        self.add(path, tarfile.SYMTYPE, 0o777, linkname=target, **more).update(type="symlink", target=target)

    def device(self, path, kind, name, numbers):
        entry = self.add(path, kind, 0o660, devmajor=numbers[0], devminor=numbers[1])
        entry.update(type=name, device=list(numbers))

    def whiteout(self, path):
        folder, _, name = path.rpartition("/")
        self.tar.addfile(tarfile.TarInfo(f"{folder}/.wh.{name}"))
        self.listing["/" + path] = {"path": "/" + path, "type": "whiteout"}

    def opaque(self, path):
        self.tar.addfile(tarfile.TarInfo(path + "/.wh..wh..opq"))
        self.listing["/" + path]["opaque"] = True

    def redirect(self, path, target):
        """As overlayfs marks a directory that was moved."""
        self.add(path, tarfile.DIRTYPE, 0o755, pax_headers={"SCHILY.xattr.trusted.overlay.redirect": target}).update(
            type="directory", redirect=target)


def fill(golden):
    golden.directory("./", 0o755)
    golden.directory("d", 0o1777, time_ns=-1_500_000_000, xattrs={"user.note": b"\0binary\xff"})
    golden.file("d/packed", text(3000, 1), owner=(70000, 4_000_000_000))
    golden.file("d/same content", text(3000, 1), mode=0o4755)
    golden.file("d/stored", noise(5000, 2), time_ns=2**35 * 10**9 + 1)
    golden.file("empty", b"")
    golden.file("run", text(300_000, 3), xattrs={"user.a": b"1", "user.b": b""})
    golden.file("run-stored", noise(200_000, 4))
    golden.file("zeros", bytes(10_000))
    golden.sparse("sparse", 1 << 20, [(8192, text(4096, 5)), (262_144, text(8192, 6)), ((1 << 20) - 4096, text(4096, 7))])
    golden.hard_link("x-linked", "run")
    golden.symlink("link", "d/packed", time_ns=1)
    golden.symlink("long-link", "x/" * 2000)
    golden.device("null", tarfile.CHRTYPE, "character device", (1, 3))
    golden.device("disk", tarfile.BLKTYPE, "block device", (259, 1_048_575))
    golden.add("fifo", tarfile.FIFOTYPE, 0o600)["type"] = "fifo"
    golden.file("n" * 255, b"long name\n")
    golden.file("new\nline", b"x")
    golden.file("not-utf8-\udcff", b"y")
    golden.file("capable", b"z", mode=0o755, xattrs={
        "security.capability": bytes.fromhex("0100000200200000000000000000000000000000")})
    golden.directory("below")
    golden.whiteout("below/gone")
    golden.directory("opaque")
    golden.opaque("opaque")
    golden.redirect("moved", "/was/here")
    golden.directory("many")
    for number in range(300):
        golden.file(f"many/{number}", b"%d" % (number % 7))


def changed(content, *places):
    """`content` with one other byte at each of `places`."""
    whole = bytearray(content)
    for place in places:
        whole[place] ^= 0xff
    return bytes(whole)


def fill_delta(golden):
    """The tree of fill() as somebody left it who changed some of its files."""
    run = text(300_000, 3)
    golden.directory("./", 0o755)
    golden.directory("d", 0o1777)
    golden.file("run", changed(run, 5_000, 200_000), xattrs={"user.new": b"2"})  # two blocks of 4 KiB
    golden.hard_link("x-linked", "run")
    golden.file("run-stored", noise(200_000, 4), mode=0o600)  # other metadata only
    golden.file("d/longer", b"")
    golden.file("zeros", bytes(10_000) + b"appended")
    golden.file("grown", run + text(20_000, 8))  # a copy of a file below, and more
    golden.file("cut", noise(200_000, 4)[:70_001])
    golden.sparse("sparse", 1 << 20, [(8192, text(4096, 9)), ((1 << 20) - 4096, text(4096, 7))])  # a piece became a hole
    golden.file("moved", noise(4096, 10) + noise(200_000, 4))  # what lies below begins a block later here
    golden.whiteout("d/packed")


def fill_large(golden):
    golden.directory("./", 0o755)
    golden.file("text", text(5_000_000, 11))
    golden.directory("many")
    for number in range(1500):
        golden.file(f"many/{number}", b"content of file %d\n" % number)


def make(imagetool, layer, fill, parents, *options):
    golden = Golden()
    fill(golden)
    golden.tar.close()
    below = [word for parent in parents for word in ("--parent", parent)]
    subprocess.run([imagetool, "layer", "build", "-", "-o", layer, "--jobs", "1", *below, *options],
                   input=golden.bytes.getvalue(), check=True)
    listing = sorted(golden.listing.values(), key=lambda entry: os.fsencode(entry["path"]))
    with open(layer.removesuffix(".layer") + ".json", "w", encoding="ascii") as file:
        file.write("[\n" + ",\n".join(json.dumps(entry, sort_keys=True) for entry in listing) + "\n]\n")
    if parents:
        with open(layer.removesuffix(".layer") + ".parents", "w", encoding="ascii") as file:
            file.writelines(os.path.basename(parent) + "\n" for parent in parents)


def main(imagetool, directory, name):
    base = os.path.join(directory, name + ".layer")
    make(imagetool, base, fill, [])
    make(imagetool, os.path.join(directory, name + "-delta.layer"), fill_delta, [base], "--dedup=cdc")
    make(imagetool, os.path.join(directory, name + "-large.layer"), fill_large, [], "--profile", "max")


if __name__ == "__main__":
    main(*sys.argv[1:])
