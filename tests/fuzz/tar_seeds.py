#!/usr/bin/env python3
"""Makes the seeds of the fuzz target tar_import: one archive of each dialect that is read, each below 8 KiB.

Usage: tar_seeds.py DIRECTORY
"""

import gzip
import io
import os
import sys
import tarfile

CHECKED = b"\0"  # the first byte of an input: the target repairs the checksums of headers
AS_IS = b"\1"


def member(name, kind=tarfile.REGTYPE, **fields):
    info = tarfile.TarInfo(name)
    info.type = kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def archive(members, dialect):
    """`members`: pairs of TarInfo and content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=dialect) as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    # tarfile fills up to 10 KiB; two blocks of zeros are enough of an end.
    return out.getvalue().rstrip(b"\0").ljust(1, b"\0") + bytes(1536)


def ordinary():
    return [(member("./", tarfile.DIRTYPE, mode=0o755), b""), (member("./d/a", mode=0o4711, uid=5, gid=6), b"text\n"),
            (member("./d/b", tarfile.LNKTYPE, linkname="./d/a"), b""),
            (member("./s", tarfile.SYMTYPE, linkname="../d/a"), b""),
            (member("./n", tarfile.CHRTYPE, devmajor=1, devminor=3), b""), (member("./f", tarfile.FIFOTYPE), b"")]


def marks():
    return [(member("o/.wh..wh..opq"), b""), (member("o/.wh.gone"), b""), (member("w", tarfile.CHRTYPE), b""),
            (member("o", tarfile.DIRTYPE), b""), (member("o"), b"twice")]


def pax():
    records = {"mtime": "-12.345678901", "SCHILY.xattr.user.a": "value", "uid": "70000",
               "SCHILY.acl.access": "user::rw-,user:7:r--:7,group::r--,mask::r--,other::---"}
    return [(member("x" * 120, pax_headers=records), b"content")]


def sparse():
    content = b"2\n0\n512\n1048576\n512\n".ljust(512, b"\0") + b"a" * 512 + b"b" * 512
    records = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "s",
               "GNU.sparse.realsize": "2097152"}
    return [(member("GNUSparseFile.0/s", pax_headers=records), content)]


def main(directory):
    seeds = {"ustar": CHECKED + archive(ordinary(), tarfile.USTAR_FORMAT),
             "marks": CHECKED + archive(marks(), tarfile.USTAR_FORMAT),
             "pax": CHECKED + archive(pax(), tarfile.PAX_FORMAT),
             "sparse": CHECKED + archive(sparse(), tarfile.PAX_FORMAT),
             "gnu": CHECKED + archive([(member("long/" * 30 + "name"), b"x" * 700)], tarfile.GNU_FORMAT),
             "gzip": AS_IS + gzip.compress(archive(ordinary(), tarfile.USTAR_FORMAT), mtime=0)}
    for name, content in seeds.items():
        with open(os.path.join(directory, name), "wb") as file:
            file.write(content)


if __name__ == "__main__":
    main(*sys.argv[1:])
