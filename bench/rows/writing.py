"""Rows 1 to 4: the first change of what lies in a layer."""

import os

from rows.row import AWAKE, Figure, Row, also_awake, at_most, cold_mount, digest, listing, seconds_of, times, times_best

from benchlib import KIB, MEGABYTE

BLOCK = 4096
SEED = 1
WRITERS = ("varvefs", "ovl", "ovl+sqfs", "ovl+erofs", "fo", "fo+sqf")


def grown(mount, before):
    return mount.upper_bytes() - before


class FirstWrite(Row):
    number = "1"
    title = "first 4 KiB write into a large lower file, cold"
    peers = WRITERS
    figures = (
        Figure("write", "write", "ms", (at_most(0.002, "2 ms"), times(1 / 300, "write", "ovl", "<= 1/300 of overlayfs"))),
        Figure("fsync", "write and fsync", "ms", (at_most(0.010, "10 ms"),)),
        Figure("upper", "growth of the upper", "KiB", (at_most(16 * KIB, "16 KiB"),)),
    )

    def prepare(self):
        self.stack = self.inputs.big()

    def write_once(self, column, sync, first):
        with cold_mount(column, self.stack) as mount:
            path = mount.path("big")
            offset = os.stat(path).st_size // 2
            before = mount.upper_bytes()
            seconds = self.bench.client("write", path, offset, BLOCK, sync)["write"]
            return seconds, grown(mount, before), digest(path) if first else None

    def measure(self, column, first):
        write, upper, answer = self.write_once(column, 0, first)
        fsync, _, _ = self.write_once(column, 1, False)
        return {"write": write, "fsync": fsync, "upper": upper}, answer


class RandomWrites(Row):
    number = "1b"
    title = "random 4 KiB writes over a tenth of that file, cold"
    peers = WRITERS

    def __init__(self, bench):
        super().__init__(bench)
        file_bytes = self.inputs.big_mib << 20
        self.count = file_bytes // BLOCK // 10
        words = "<= overlayfs"
        self.figures = (
            Figure("write", "until the last write", "s", (times(1, "write", "ovl", words),)),
            Figure("fsync", "with fsync at the end", "s", (times(1, "fsync", "ovl", words),)),
            Figure("upper", "growth of the upper", "MB", (at_most(0.11 * file_bytes, "11 % of the file"),)),
        )

    def prepare(self):
        self.stack = self.inputs.big()

    def measure(self, column, first):
        with cold_mount(column, self.stack) as mount:
            path = mount.path("big")
            os.stat(path)
            before = mount.upper_bytes()
            took = self.bench.client("write-random", path, self.count, SEED)
            figures = {"write": took["write"], "fsync": took["fsync"], "upper": grown(mount, before)}
            return figures, digest(path) if first else None


class Append(Row):
    number = "2"
    title = "append 4 KiB to a large lower log, cold"
    peers = WRITERS
    figures = (
        Figure("append", "append", "ms", (at_most(0.001, "1 ms"),)),
        Figure("upper", "growth of the upper", "KiB", (at_most(16 * KIB, "16 KiB"),)),
    )

    def prepare(self):
        self.stack = self.inputs.log()

    def measure(self, column, first):
        with cold_mount(column, self.stack) as mount:
            path = mount.path("log")
            os.stat(path)
            before = mount.upper_bytes()
            seconds = self.bench.client("append", path, BLOCK)["append"]
            return {"append": seconds, "upper": grown(mount, before)}, digest(path) if first else None


class Move(Row):
    number = "3"
    title = "rename of a lower directory, by mv where rename(2) is refused"
    peers = ("varvefs", "ovl", "ovl redirect", "ovl+sqfs", "ovl+erofs", "fo", "fo+sqf")

    def __init__(self, bench):
        super().__init__(bench)
        files = self.inputs.renamed_directories * 100
        self.figures = (
            Figure("large", f"{files:,} files", "ms", (at_most(0.002, "2 ms"),)),
            Figure("small", "10 files", "ms", (at_most(0.002, "2 ms"),)),
        )

    def prepare(self):
        self.stack = self.inputs.to_rename()

    def move(self, old, new):
        try:
            return self.bench.client("rename", old, new)["rename"]
        except FileExistsError:  # what the client says of EXDEV
            return seconds_of("mv", old, new)

    def measure(self, column, first):
        figures = {}
        with cold_mount(column, self.stack) as mount:
            for name in ("small", "large"):
                os.stat(mount.path(name))
                figures[name] = self.move(mount.path(name), mount.path(name + "-moved"))
            return figures, listing(mount.root) if first else None


class ChangeAll(Row):
    number = "4"
    title = "chmod -R and rm -rf of /usr/share, warm (--quick: of its man)"
    peers = ("varvefs", AWAKE, "ovl", "ovl metacopy", "ovl+sqfs", "ovl+erofs", "fo", "fo+sqf")

    def __init__(self, bench):
        super().__init__(bench)
        self.target = ("usr", "share", "man") if bench.quick else ("usr", "share")
        chmod = times_best(1.5, "chmod", ("ovl metacopy",), "<= 1.5x overlayfs with metacopy")
        self.figures = (
            Figure("chmod", "chmod -R", "s", also_awake(chmod)),
            Figure("upper", "upper after it, without inodes", "MB", (at_most(20 * MEGABYTE, "20 MB"),)),
            Figure("rm", "rm -rf", "s", also_awake(times(1.5, "rm", "ovl", "<= 1.5x overlayfs"))),
        )

    def prepare(self):
        self.stack = self.inputs.layers()

    def measure(self, column, first):
        figures = {}
        answer = []
        with column.mounted(self.stack, writable=True) as mount:
            target = mount.path(*self.target)
            listing(target)
            before = mount.upper_bytes()
            figures["chmod"] = seconds_of("chmod", "-R", "g+w", target)
            figures["upper"] = grown(mount, before)
            if first:
                answer.append(listing(target))
        with column.mounted(self.stack, writable=True) as mount:
            target = mount.path(*self.target)
            listing(target)
            figures["rm"] = seconds_of("rm", "-rf", target)
            if first:
                answer.append((os.path.exists(target), listing(mount.path("usr"))))
        return figures, str(answer) if first else None


ROWS = (FirstWrite, RandomWrites, Append, Move, ChangeAll)
