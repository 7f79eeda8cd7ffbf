#!/usr/bin/python3
"""A second reader of layer files, written from docs/layer-format.md without a look at fs/format.

It shows that the page is enough to write a reader from: a fault of the page, or a layer that only our own reader
understands, shows here. It takes the whole file into memory and is in no hurry.

Usage: read_layer.py ls [--contents] [--parent LAYER]... LAYER     the tree as JSON, paths in ascending order of bytes
       read_layer.py cat [--parent LAYER]... LAYER PATH            a regular file to standard output
       read_layer.py verify [--parent LAYER]... LAYER              decodes all frames, hashes all files
Each --parent is a layer that lies below, the nearest first.
Exit status: 0 good, 1 damaged or not there (one line on standard error says where and why), 2 wrong usage.
Needs python3-zstandard and python3-xxhash.
"""

import hashlib
import json
import os
import stat
import struct
import sys

import xxhash
import zstandard

BLOCK = 4096
ALIGNMENT = 64  # of DATA and of each section
HEADER_BYTES = 64
MAX_FRAME = 1 << 23
INODE, DIRENT, NAMES, EXTENT, FRAME, DIGEST, XATTR_SET, XATTR_ENTRY, XATTR_VALUE, PARENT, ORIGIN, META, PAGE_HASH = range(1, 14)
RECORD_BYTES = {INODE: 64, DIRENT: 16, EXTENT: 32, FRAME: 24, DIGEST: 16, XATTR_SET: 8, XATTR_ENTRY: 24, PARENT: 48,
                ORIGIN: 40, PAGE_HASH: 8}
PAGE_BYTES = 16384
# Features that change how a layer is read. What 1 and 4 store elsewhere is NeedsParent, without the layer that has it.
FEATURES = {1: "delta files", 2: "redirected directories", 4: "frames stored in parent layers"}
DELTA, INLINE_EXTENT, OPAQUE, REDIRECT = 1, 2, 4, 8
DATA, RUN, HOLE = 1, 2, 3
TYPES = {stat.S_IFREG: "regular", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFCHR: "character device",
         stat.S_IFBLK: "block device", stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket"}


class Damaged(Exception):
    """The bytes are not a layer file, or not what was written."""


class NeedsParent(Exception):
    """The content lies in a layer below, which was not given."""


def require(condition, what):
    if not condition:
        raise Damaged(what)


def xxh3_64(data):
    return xxhash.xxh3_64_intdigest(data)


def xxh3_128(data):
    """In the canonical form, as the format stores it."""
    return xxhash.xxh3_128_digest(data)


def legal_name(name):
    return 1 <= len(name) <= 255 and b"/" not in name and b"\0" not in name and name not in (b".", b"..")


class Inode:
    """One record of section INODE."""

    def __init__(self, record):
        (self.mode, self.flags, self.nlink, self.uid, self.gid, seconds, nanoseconds, self.xattr_set, self.size,
         self.payload_a, self.payload_b, self.payload_c, self.digest, self.origin) = struct.unpack(
             "<HHIIIqIIQQIIII", record)
        require(nanoseconds < 10**9, "an inode's nanoseconds")
        self.mtime_ns = seconds * 10**9 + nanoseconds
        self.type = stat.S_IFMT(self.mode)

    def is_directory(self):
        return self.type == stat.S_IFDIR

    def is_regular(self):
        return self.type == stat.S_IFREG


class Layer:
    """A layer file whose checksums of metadata, and whose tables, were found good. Raises Damaged.

    `below`: the layers that lie below this one, by root hash."""

    def __init__(self, data, below=None):
        self.data = memoryview(data)
        self.below = below or {}
        self.sections = {}
        self._read_header()
        self._read_footer()
        self._read_section_table()
        self._read_frames()
        self._read_xattrs()
        self.inodes = [Inode(self.record(INODE, index)) for index in range(self.count(INODE))]
        self._check_inodes()

    # --- from the ends of the file to the sections

    def _read_header(self):
        require(len(self.data) >= HEADER_BYTES + 256, "the file is too short to be a layer file")
        header = bytes(self.data[:64])
        require(header[:8] == b"\x89VRV\r\n\x1a\n", "the header's magic: no layer file")
        major, _, size, block_log2, frame_log2 = struct.unpack_from("<HHIBB", header, 8)
        require(xxh3_64(header[:56]) == struct.unpack_from("<Q", header, 56)[0], "the header's checksum")
        require(major == 1, f"version {major}; this reader knows 1")
        require(size == 64 and block_log2 == 12 and 12 <= frame_log2 <= 23, "the header's sizes")
        require(not any(header[18:24]) and not any(header[32:56]), "the header's reserved fields")
        self.frame_bytes = 1 << frame_log2
        self.header_features = struct.unpack_from("<Q", header, 24)[0]

    def _read_footer(self):
        footer = bytes(self.data[-256:])
        require(footer[:8] == b"VRVFOOT1", "the footer's magic: the file is cut or longer than it was")
        require(xxh3_64(footer[:248]) == struct.unpack_from("<Q", footer, 248)[0], "the footer's checksum")
        (major, _, self.section_count, features, _, _, file_size, self.data_end, self.table_offset, table_size,
         inodes, dirents, frames, extents, self.content_bytes) = struct.unpack_from("<HHI12Q", footer, 8)
        require(major == 1, f"version {major} in the footer; this reader knows 1")
        unknown = [bit for bit in range(64) if features >> bit & 1 and 1 << bit not in FEATURES]
        require(not unknown, f"features that this reader does not know: bits {unknown}")
        require(self.header_features & ~features == 0, "the header names features that the footer lacks")
        require(file_size == len(self.data), f"the file has {len(self.data)} bytes, not {file_size}: cut or lengthened")
        require(self.section_count <= 64 and table_size == 32 * self.section_count, "the size of the section table")
        require(self.table_offset % ALIGNMENT == 0 and self.table_offset + table_size == len(self.data) - 256,
                "the place of the section table")
        require(HEADER_BYTES <= self.data_end <= self.table_offset, "the end of DATA")
        require(not any(footer[128:248]), "the footer's reserved fields")
        self.root_hash = footer[112:128]
        self.footer_counts = {INODE: inodes, DIRENT: dirents, FRAME: frames, EXTENT: extents}

    def _read_section_table(self):
        table = bytes(self.data[self.table_offset:-256])
        require(xxh3_128(table) == self.root_hash, "the section table's hash")
        end = self.data_end  # where the section before ends
        last_known = 0
        for index in range(self.section_count):
            kind, flags, reserved, offset, length, checksum = struct.unpack_from("<HHIQQQ", table, 32 * index)
            what = f"section {index} of type {kind}"
            require(reserved == 0 and flags & ~1 == 0, f"{what}: reserved fields")
            require(offset % ALIGNMENT == 0 and 0 <= offset - end < ALIGNMENT, f"{what}: its place")
            require(not any(self.data[end:offset]), f"{what}: bytes before it that are not zero")
            require(0 < length <= self.table_offset - offset, f"{what}: its length")
            end = offset + length
            require(xxh3_64(self.data[offset:end]) == checksum, f"{what}: its checksum")
            if not INODE <= kind <= PAGE_HASH:
                require(flags & 1, f"{what}: not known, and not to be skipped")
                continue
            require(kind > last_known, f"{what}: out of order")
            require(length % RECORD_BYTES.get(kind, 1) == 0, f"{what}: not whole records")
            last_known = kind
            self.sections[kind] = self.data[offset:end]
            if kind == PAGE_HASH:
                self._check_pages(self.data[struct.unpack_from("<Q", table, 8)[0]:offset])
        require(0 <= self.table_offset - end < ALIGNMENT and not any(self.data[end:self.table_offset]),
                "the bytes between the last section and the table")
        for kind, wanted in self.footer_counts.items():
            require(self.count(kind) == wanted, f"section {kind} has {self.count(kind)} records, not {wanted}")

    def _check_pages(self, paged):
        """`paged`: from the first section to PAGE_HASH."""
        pages = range(0, len(paged), PAGE_BYTES)
        require(self.count(PAGE_HASH) == len(pages), f"PAGE_HASH has {self.count(PAGE_HASH)} records, not {len(pages)}")
        for index, offset in enumerate(pages):
            wanted = struct.unpack("<Q", self.record(PAGE_HASH, index))[0]
            require(xxh3_64(paged[offset:offset + PAGE_BYTES]) == wanted, f"page {index} of the metadata: its checksum")

    def count(self, kind):
        return len(self.sections.get(kind, b"")) // RECORD_BYTES[kind]

    def record(self, kind, index):
        require(index < self.count(kind), f"record {index} of section {kind}, which has {self.count(kind)}")
        size = RECORD_BYTES[kind]
        return bytes(self.sections[kind][index * size:(index + 1) * size])

    def text(self, kind, offset, size):
        section = self.sections.get(kind, b"")
        require(offset + size <= len(section), f"bytes outside of section {kind}")
        return bytes(section[offset:offset + size])

    # --- tables

    def _read_frames(self):
        self.frames = []
        end = HEADER_BYTES
        for index in range(self.count(FRAME)):
            word, stored, content, checksum = struct.unpack("<QIIQ", self.record(FRAME, index))
            offset, flags = word >> 16, word & 0xffff
            what = f"frame {index}"
            require(flags & ~1 == 0 and 1 <= content <= MAX_FRAME and stored <= content + 64, f"{what}: its record")
            require(end <= offset and offset + stored <= self.data_end, f"{what}: its place")
            require(not flags or stored == content + 8, f"{what}: the size of a stored frame")
            end = offset + stored
            self.frames.append((offset, stored, content, checksum, flags))

    def frame(self, index):
        """The content of frame `index`, its checksum checked before it is decoded."""
        offset, stored, content, checksum, flags = self.frames[index]
        data = bytes(self.data[offset:offset + stored])
        require(xxh3_64(data) == checksum, f"frame {index} at {offset}: its checksum")
        if flags:
            require(data[:8] == struct.pack("<II", 0x184D2A50, content), f"frame {index} at {offset}: its stored header")
            return data[8:]
        require(zstandard.frame_content_size(data) == content, f"frame {index} at {offset}: its content size")
        try:
            decoded = zstandard.ZstdDecompressor().decompress(data)
        except zstandard.ZstdError as error:
            raise Damaged(f"frame {index} at {offset}: {error}") from error
        require(len(decoded) == content, f"frame {index} at {offset}: decodes to {len(decoded)} bytes, not {content}")
        return decoded

    def _read_xattrs(self):
        self.xattr_sets = []
        entries = 0
        for index in range(self.count(XATTR_SET)):
            first, size = struct.unpack("<II", self.record(XATTR_SET, index))
            found, total = {}, 0
            if index == 0:
                require(first == 0 and size == 0, "xattr set 0 is not zeros")
            else:
                require(first == entries and size > 0, f"xattr set {index}: its entries")
                entries += size
            for number in range(first, first + size):
                offset, name_size, value_size, value_offset = struct.unpack("<QIIQ", self.record(XATTR_ENTRY, number))
                require(1 <= name_size <= 255 and value_size <= 65536, f"xattr entry {number}: its sizes")
                name = self.text(NAMES, offset, name_size)
                require(b"\0" not in name and all(other < name for other in found), f"xattr entry {number}: its name")
                found[name] = self.text(XATTR_VALUE, value_offset, value_size)
                total += name_size + value_size
            require(total <= 1 << 20, f"xattr set {index}: too large")
            self.xattr_sets.append(found)
        require(entries == self.count(XATTR_ENTRY), "xattr entries that belong to no set")

    def _check_inodes(self):
        require(len(self.inodes) >= 2 and not any(self.record(INODE, 0)), "inode 0 is not zeros, or there is no root")
        for kind in (DIGEST, PARENT, ORIGIN):
            require(self.count(kind) == 0 or not any(self.record(kind, 0)), f"record 0 of section {kind} is not zeros")
        require(not self.inodes[1].flags & REDIRECT, "the root is redirected")
        require(self.inodes[1].is_directory() and self.inodes[1].payload_c == 1, "inode 1 is no root directory")
        entries = extents = 0
        for number, inode in enumerate(self.inodes[1:], 1):
            what = f"inode {number}"
            require(inode.type in TYPES and inode.flags & ~15 == 0, f"{what}: its type or flags")
            require(inode.xattr_set == 0 or inode.xattr_set < len(self.xattr_sets), f"{what}: its xattr set")
            require(inode.digest == 0 or (inode.is_regular() and inode.digest < self.count(DIGEST)), f"{what}: its digest")
            require((inode.origin != 0) == bool(inode.flags & (REDIRECT | DELTA)), f"{what}: its origin")
            require(inode.is_directory() or not inode.flags & (OPAQUE | REDIRECT), f"{what}: a directory's flags")
            require(inode.is_regular() or not inode.flags & (INLINE_EXTENT | DELTA), f"{what}: a file's flags")
            require(inode.flags & (OPAQUE | REDIRECT) != OPAQUE | REDIRECT, f"{what}: opaque and redirected")
            if inode.flags & INLINE_EXTENT:
                require(inode.size and inode.payload_a & 0xff in (DATA, RUN) and inode.payload_a >> 8 & 0xffff == 0,
                        f"{what}: its inline extent")
            if inode.is_directory():
                require(inode.payload_a == entries and inode.payload_b == inode.size, f"{what}: its entries")
                entries += inode.payload_b
            elif inode.is_regular():
                require(inode.size < 1 << 63 and (inode.payload_c == 0 or inode.flags & DELTA), f"{what}: its size")
                if not inode.flags & INLINE_EXTENT:
                    require(inode.payload_a == extents or inode.payload_b == 0, f"{what}: its extents")
                    extents += inode.payload_b
                for _ in self.pieces(number):
                    pass
            elif inode.type == stat.S_IFLNK:
                require(inode.payload_b == inode.size and 1 <= inode.size <= 4095, f"{what}: the target's size")
                require(b"\0" not in self.target(number), f"{what}: its target")
            else:
                require(inode.payload_a == inode.payload_b == inode.payload_c == 0, f"{what}: its unused fields")
        require(entries == self.count(DIRENT), "entries that belong to no directory")
        require(extents == self.count(EXTENT), "extents that belong to no file")
        self._check_tree()

    def _check_tree(self):
        names = [0] * len(self.inodes)
        directories = 0
        waiting = [1]
        while waiting:
            number = waiting.pop()
            directories += 1
            subdirectories = 0
            for _, child in self.entries(number):
                if not child:
                    continue
                names[child] += 1
                if self.inodes[child].is_directory():
                    require(names[child] == 1 and child != 1, f"inode {child}: a directory with two names")
                    require(self.inodes[child].payload_c == number, f"inode {child}: its parent")
                    subdirectories += 1
                    waiting.append(child)
            require(self.inodes[number].nlink == 2 + subdirectories, f"inode {number}: its links")
        for number, inode in enumerate(self.inodes[1:], 1):
            require(inode.is_directory() or names[number] == inode.nlink > 0, f"inode {number}: its links")
        require(directories == sum(inode.is_directory() for inode in self.inodes[1:]), "directories in a loop")

    # --- what is in it

    def entries(self, number):
        """Names and inodes (0: deleted below) of the directory `number`, in the order of the file."""
        inode, before = self.inodes[number], (-1, b"")
        for index in range(inode.payload_a, inode.payload_a + inode.payload_b):
            hash32, child, low, high, size, kind, flags = struct.unpack("<IIIBBBB", self.record(DIRENT, index))
            what = f"entry {index}"
            name = self.text(NAMES, high << 32 | low, size)
            require(legal_name(name) and hash32 == xxh3_64(name) & 0xffffffff, f"{what}: its name")
            require(before < (hash32, name), f"{what}: out of order")
            require(flags & ~1 == 0 and bool(flags) == (child == 0) and child < len(self.inodes), f"{what}: its inode")
            require(kind == (self.inodes[child].type >> 12 if child else 0), f"{what}: its type")
            before = (hash32, name)
            yield name, child

    def target(self, number):
        inode = self.inodes[number]
        return self.text(NAMES, inode.payload_a, inode.payload_b)

    def origin(self, number):
        """(parent, inode there, its digest, path there) of a delta file or a redirected directory."""
        parent, reserved, inode, digest, offset, size, reserved_too = struct.unpack(
            "<HHI16sQII", self.record(ORIGIN, self.inodes[number].origin))
        path = self.text(NAMES, offset, size)
        require(reserved == reserved_too == 0 and size <= 4095, f"inode {number}: where it continues")
        require(not path or (path.startswith(b"/") and all(map(legal_name, path[1:].split(b"/")))),
                f"inode {number}: the path where it continues")
        return parent, inode, digest, path

    def redirect(self, number):
        """The path that a redirected directory continues below."""
        parent, inode, digest, path = self.origin(number)
        require(path and parent == inode == 0 and not any(digest), f"inode {number}: where it continues")
        return path

    def parent(self, index):
        """The layer of PARENT record `index`, which is found by its root hash."""
        root_hash = self.record(PARENT, index)[32:]
        if index == 0 or root_hash not in self.below:
            raise NeedsParent(f"the layer with root hash {root_hash.hex()} is needed (--parent)")
        return self.below[root_hash]

    def base(self, number):
        """(layer, inode) that the delta file `number` inherits from."""
        index, base, digest, _ = self.origin(number)
        layer = self.parent(index)
        require(base < len(layer.inodes) and layer.inodes[base].is_regular(), f"inode {number}: its base is no file")
        known = layer.record(DIGEST, layer.inodes[base].digest) if layer.inodes[base].digest else bytes(16)
        require(digest in (known, bytes(16)) or not any(known), f"inode {number}: its base has another content")
        return layer, base

    def pieces(self, number):
        """(offset in the file, bytes, kind, frame, offset in it, source) of each extent of a regular file, ascending."""
        inode = self.inodes[number]
        if inode.flags & INLINE_EXTENT:
            raw = [(0, inode.size, inode.payload_a, inode.payload_b, 0)]
        else:
            raw = [struct.unpack("<QQQII", self.record(EXTENT, inode.payload_a + index))
                   for index in range(inode.payload_b)]
        end = 0
        for offset, length, word, in_frame, reserved in raw:
            frame, source, kind = word >> 24, word >> 8 & 0xffff, word & 0xff
            what = f"inode {number}: its extent at {offset}"
            require(reserved == 0 and offset % BLOCK == 0 and offset >= end and length > 0, f"{what}: out of order")
            end = offset + length
            require(end <= inode.size and (length % BLOCK == 0 or end == inode.size), f"{what}: its length")
            require(kind in (DATA, RUN, HOLE), f"{what}: its kind")
            if kind == HOLE:
                require(frame == source == in_frame == 0, f"{what}: a hole with a frame")
            elif source == 0:
                require(kind == DATA or in_frame == 0, f"{what}: a run that begins within a frame")
                self._check_piece(what, kind, frame, in_frame, length)
            else:
                require(source < self.count(PARENT), f"{what}: its parent")
            yield offset, length, kind, frame, in_frame, source

    def _check_piece(self, what, kind, frame, in_frame, length):
        end = in_frame + length
        last = frame if kind == DATA else frame + (end - 1) // self.frame_bytes
        require(last < len(self.frames), f"{what}: frames that are not there")
        require(kind == DATA or in_frame < self.frame_bytes, f"{what}: a run that begins behind its first frame")
        require(all(self.frames[index][2] == self.frame_bytes for index in range(frame, last)), f"{what}: a short frame")
        require(end - (last - frame) * self.frame_bytes <= self.frames[last][2], f"{what}: more than its frames hold")

    def _run(self, frame, in_frame, length):
        """The content of a run, frame by frame."""
        at, end = in_frame, in_frame + length
        while at < end:
            start = at % self.frame_bytes
            part = self.frame(frame + at // self.frame_bytes)[start:start + end - at]
            yield part
            at += len(part)

    def content(self, number):
        """Yields the content in parts of at most 1 MiB, holes as zeros."""
        inode = self.inodes[number]
        position = 0
        inherited = self._inherited(number) if inode.flags & DELTA else b""
        for offset, length, kind, frame, in_frame, source in self.pieces(number):
            yield from padded(inherited[position:offset], offset - position)
            position = offset + length
            if kind == HOLE:
                yield from zeros(length)
                continue
            layer = self.parent(source) if source else self
            if source:
                layer._check_piece(f"inode {number}: its extent at {offset}", kind, frame, in_frame, length)
            if kind == DATA:
                yield layer.frame(frame)[in_frame:in_frame + length]
                continue
            yield from layer._run(frame, in_frame, length)
        yield from padded(inherited[position:inode.size], inode.size - position)

    def _inherited(self, number):
        """What the base of a delta file holds, up to the delta file's size."""
        layer, base = self.base(number)
        found = bytearray()
        for part in layer.content(base):
            found += part
            if len(found) >= self.inodes[number].size:
                break
        return memoryview(found)[:self.inodes[number].size]

    def data_blocks(self, number):
        """The blocks of 4096 bytes that hold data, of the files below too, as a set of their numbers."""
        inode = self.inodes[number]
        found = set()
        if inode.flags & DELTA:
            layer, base = self.base(number)
            found = {block for block in layer.data_blocks(base) if block * BLOCK < inode.size}
        for offset, length, kind, *_ in self.pieces(number):
            blocks = range(offset // BLOCK, -(-(offset + length) // BLOCK))
            found = found.difference(blocks) if kind == HOLE else found.union(blocks)
        return found

    def data_ranges(self, number):
        """[offset, bytes] of what is no hole, neighbours joined."""
        ranges = []
        for offset, length, kind, *_ in self.pieces(number):
            if kind == HOLE:
                continue
            if ranges and sum(ranges[-1]) == offset:
                ranges[-1][1] += length
            else:
                ranges.append([offset, length])
        return ranges

    def walk(self):
        """(path, inode or 0) of every name, the root first, ascending by the bytes of the path."""
        found = [(b"/", 1)]
        waiting = [(b"", 1)]
        while waiting:
            path, number = waiting.pop()
            for name, child in self.entries(number):
                found.append((path + b"/" + name, child))
                if child and self.inodes[child].is_directory():
                    waiting.append((path + b"/" + name, child))
        return sorted(found)


def zeros(size):
    for start in range(0, size, 1 << 20):
        yield bytes(min(1 << 20, size - start))


def padded(data, size):
    """`data`, and zeros up to `size` bytes."""
    yield bytes(data)
    yield from zeros(size - len(data))


def describe(layer, path, number, first_names):
    """The object as JSON. `first_names`: inode -> the first path that it was met under."""
    shown = os.fsdecode(path)
    if number == 0:
        return {"path": shown, "type": "whiteout"}
    inode = layer.inodes[number]
    entry = {"path": shown, "type": TYPES[inode.type], "mode": f"{stat.S_IMODE(inode.mode):04o}", "uid": inode.uid,
             "gid": inode.gid, "mtime_ns": inode.mtime_ns}
    if inode.is_regular():
        entry["size"] = inode.size
        ranges = layer.data_ranges(number)
        if inode.flags & DELTA:
            entry["delta"] = True
        elif ranges != ([[0, inode.size]] if inode.size else []):
            entry["data"] = ranges
    elif inode.type == stat.S_IFLNK:
        entry["target"] = os.fsdecode(layer.target(number))
    elif inode.type in (stat.S_IFCHR, stat.S_IFBLK):
        entry["device"] = [inode.size >> 32, inode.size & 0xffffffff]
    if inode.xattr_set:
        entry["xattrs"] = {os.fsdecode(name): value.hex() for name, value in layer.xattr_sets[inode.xattr_set].items()}
    if inode.flags & OPAQUE:
        entry["opaque"] = True
    if inode.flags & REDIRECT:
        entry["redirect"] = os.fsdecode(layer.redirect(number))
    if not inode.is_directory() and first_names.setdefault(number, shown) != shown:
        entry["same_as"] = first_names[number]
    return entry


def listing(layer, contents):
    """The tree as a list of JSON objects; `contents`: with the SHA-256 of every regular file."""
    first_names, result = {}, []
    for path, number in layer.walk():
        entry = describe(layer, path, number, first_names)
        if contents and number and layer.inodes[number].is_regular():
            digest = hashlib.sha256()
            for part in layer.content(number):
                digest.update(part)
            entry["sha256"] = digest.hexdigest()
        result.append(entry)
    return result


def verify(layer):
    """Decodes every frame and compares every file that has a digest with it. Returns how many were compared.

    Files that lie in part in layers below are compared when any of those was given."""
    for index in range(len(layer.frames)):
        layer.frame(index)
    compared = 0
    for number, inode in enumerate(layer.inodes):
        elsewhere = inode.is_regular() and (inode.flags & DELTA or any(piece[5] for piece in layer.pieces(number)))
        if not inode.digest or (elsewhere and not layer.below):
            continue
        digest = xxhash.xxh3_128()
        for part in layer.content(number):
            digest.update(part)
        require(digest.digest() == layer.record(DIGEST, inode.digest), f"inode {number}: the digest of its content")
        if inode.flags & DELTA:
            blocks = len(layer.data_blocks(number))
            require(inode.payload_c == min(blocks, 2**32 - 1), f"inode {number}: {blocks} blocks, not {inode.payload_c}")
        compared += 1
    return compared


def find(layer, path):
    number = 1
    for name in os.fsencode(path).split(b"/"):
        if name:
            require(layer.inodes[number].is_directory(), f"{path}: no such file")
            number = dict(layer.entries(number)).get(name, 0)
            require(number, f"{path}: no such file")
    require(layer.inodes[number].is_regular(), f"{path}: no regular file")
    return number


def open_layer(path, parents):
    """`parents`: paths of what lies below, the nearest first."""
    below = {}
    for parent in reversed(parents):
        layer = open_with(parent, below)
        below[layer.root_hash] = layer
    return open_with(path, below)


def open_with(path, below):
    with open(path, "rb") as file:
        return Layer(file.read(), dict(below))


def parse(words):
    """(command, contents, parents, names), or None."""
    parents, names, contents = [], [], False
    rest = iter(words[1:])
    for word in rest:
        if word == "--contents":
            contents = True
        elif word == "--parent":
            parents.append(next(rest, ""))
        else:
            names.append(word)
    good = words and {"ls": 1, "verify": 1, "cat": 2}.get(words[0]) == len(names) and all(parents)
    return (words[0], contents, parents, names) if good else None


def run(command, contents, parents, names):
    layer = open_layer(names[0], parents)
    if command == "ls":
        json.dump(listing(layer, contents), sys.stdout, indent=1, sort_keys=True)
        print()
    elif command == "cat":
        for part in layer.content(find(layer, names[1])):
            sys.stdout.buffer.write(part)
    else:
        print(f"{names[0]}: {len(layer.frames)} frames good, {verify(layer)} files as their digests say")


def main(words):
    parsed = parse(words)
    if parsed is None:
        print(__doc__[__doc__.index("Usage"):], file=sys.stderr)
        sys.exit(2)
    try:
        run(*parsed)
    except (Damaged, NeedsParent, OSError) as error:
        sys.exit(f"read_layer: reading {words[-1]}: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
