#!/usr/bin/env python3
"""Compares two tar archives entry by entry, whatever the order of their members and the dialect.

Usage: compare_tars.py LEFT RIGHT     one line for each difference; exit status 1 when there is any
Compared: the set of paths; type, mode, numeric owner, modification time to the nanosecond, size, target of symbolic links,
device numbers, extended attributes, access control lists, file capabilities, which ranges of sparse files hold data,
SHA-256 of contents; hard links as groups of paths, so that it does not matter which of them comes first.
"""

import base64
import collections
import decimal
import grp
import hashlib
import os
import posixpath
import pwd
import sys
import tarfile
import urllib.parse

# What tells how or when the archive was made, not what is in it.
NOT_COMPARED = ("path", "linkpath", "size", "uid", "gid", "uname", "gname", "mtime", "atime", "ctime", "hdrcharset")


def path_of(name):
    return posixpath.normpath("/" + name)


def nanoseconds(member):
    """tarfile gives a float; the record has all digits. The sign stands for the whole: -1.5 is a second and a half before."""
    return int(decimal.Decimal(member.pax_headers.get("mtime", str(int(member.mtime)))).scaleb(9))


def number_of(who, look_up):
    """Access control lists name users and groups, where this machine knows them."""
    if not who or who.isdigit():
        return who
    try:
        return str(look_up(who)[2])
    except KeyError:
        return who


def acl_lines(text):
    """(tag, number, permissions) of each entry, in any order; none for a list that says no more than the mode."""
    lines = []
    for line in text.replace("\n", ",").split(","):
        fields = line.split("#")[0].strip().split(":")
        if len(fields) < 3:
            continue
        look_up = pwd.getpwnam if fields[0] == "user" else grp.getgrnam
        who = fields[3] if len(fields) > 3 else number_of(fields[1], look_up)
        lines.append((fields[0], who, fields[2][:3]))
    return sorted(lines) if len(lines) > 3 else []


def records(member):
    """The pax records that say something about the object; values of extended attributes as bytes."""
    kept = {}
    for key, value in member.pax_headers.items():
        if key.startswith("SCHILY.acl."):
            if acl_lines(value):
                kept[key] = acl_lines(value)
        elif key.startswith("SCHILY.xattr."):
            kept.setdefault("xattr " + key.removeprefix("SCHILY.xattr."), set()).add(os.fsencode(value))
        elif key.startswith("LIBARCHIVE.xattr."):  # says the same once more; shows as two values when it does not
            name = urllib.parse.unquote(key.removeprefix("LIBARCHIVE.xattr."))
            kept.setdefault("xattr " + name, set()).add(base64.b64decode(value + "=" * (-len(value) % 4)))
        elif key not in NOT_COMPARED and not key.startswith("GNU.sparse."):
            kept[key] = value
    # GNU tar may write a list as text and as an attribute too.
    for kind in ("access", "default"):
        if f"SCHILY.acl.{kind}" in kept:
            kept.pop(f"xattr system.posix_acl_{kind}", None)
    return kept


def ranges(member):
    """[begin, end) of data, neighbours joined, without empty ones. None: all of it."""
    if member.sparse is None:
        return None
    joined = []
    for offset, size in member.sparse:
        if size == 0:
            continue
        if joined and joined[-1][1] == offset:
            joined[-1][1] = offset + size
        else:
            joined.append([offset, offset + size])
    return None if joined == [[0, member.size]] else joined


def content_hash(archive, member):
    """SHA-256 of the data, holes passed over: where they are is compared as such."""
    content = hashlib.sha256()
    with archive.extractfile(member) as file:
        for begin, end in [[0, member.size]] if ranges(member) is None else ranges(member):
            file.seek(begin)
            while begin < end:
                part = file.read(min(end - begin, 1 << 20))
                if not part:
                    sys.exit(f"{archive.name}: {member.name}: its content ends at {begin}, not at {end}")
                content.update(part)
                begin += len(part)
    return content.hexdigest()


def describe(archive, member):
    said = {"type": member.type, "mode": oct(member.mode), "owner": (member.uid, member.gid), "mtime": nanoseconds(member),
            "records": records(member)}
    if member.isreg() or member.type == tarfile.GNUTYPE_SPARSE:
        said.update(type="regular", size=member.size, data=ranges(member), sha256=content_hash(archive, member))
    elif member.issym():
        said["target"] = member.linkname
    elif member.ischr() or member.isblk():
        said["device"] = (member.devmajor, member.devminor)
    return said


def read(name):
    """path -> what is said of it; and the groups of paths that are one file."""
    found, first = {}, {}
    with tarfile.open(name, errorlevel=2) as archive:
        for member in archive:
            path = path_of(member.name)
            if member.islnk():
                first[path] = path_of(member.linkname)
                found[path] = found[first[path]]
            else:
                first[path] = path
                found[path] = describe(archive, member)
    groups = collections.defaultdict(set)
    for path, target in first.items():
        groups[first.get(target, target)].add(path)
    return found, {frozenset(group) for group in groups.values() if len(group) > 1}


def differences(left, right):
    for path in sorted(left[0].keys() | right[0].keys()):
        here, there = left[0].get(path), right[0].get(path)
        if here is None or there is None:
            yield f"{path}: only in the {'second' if here is None else 'first'} archive"
            continue
        for key in sorted(here.keys() | there.keys()):
            if here.get(key) != there.get(key):
                yield f"{path}: {key}: {here.get(key)!r}, then {there.get(key)!r}"
    for group in left[1] ^ right[1]:
        yield f"hard links only in the {'first' if group in left[1] else 'second'} archive: {sorted(group)}"


def main(left, right):
    one, other = read(left), read(right)
    found = list(differences(one, other))
    for line in found:
        print(line)
    if not one[0]:
        sys.exit(f"{left}: empty, so nothing was compared")
    print(f"{len(one[0])} objects, {len(one[1])} groups of hard links, {len(found)} differences")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
