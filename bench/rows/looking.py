"""Rows 5 to 8 and 18: mounting, walking, looking up."""

import os

from rows.row import AWAKE, Figure, Row, also_awake, at_most, cold_mount, listing, seconds_of, succeeds, times, times_best, times_own

from benchlib import KIB, MEGABYTE, drop_caches

SEED = 5
STACKED = ("varvefs", "ovl", "ovl+sqfs", "ovl+erofs", "fo", "fo+sqf")
SINGLE = ("squashfs", "erofs", "squashfuse", "dwarfs")
COMPRESSED = ("ovl+sqfs", "ovl+erofs", "fo+sqf", *SINGLE)
CACHE_BYTES = 64 * KIB * KIB  # varvefs's default for decompressed data


class Walks(Row):
    """find, du and random stats of a stack's union."""

    def __init__(self, bench):
        super().__init__(bench)
        self.stats = 3000 if bench.quick else 30000

    def prepare(self):
        self.stack = self.inputs.layers()
        self.paths = self.inputs.paths(self.stack)

    def find(self, mount):
        return seconds_of("find", mount.root)

    def du(self, mount):
        return seconds_of("du", "-s", mount.root)

    def stat(self, mount):
        return self.bench.client("stat-random", self.paths, mount.root, self.stats, SEED)["stat"]


class WalksWarm(Walks):
    number = "5"
    title = "find, du, random stats of all layers, warm"
    peers = ("varvefs", AWAKE, "varvefs ro", *STACKED[1:], *SINGLE)

    def __init__(self, bench):
        super().__init__(bench)
        words = "<= 1.1x overlayfs"
        self.figures = (
            Figure("find", "the second find", "s", also_awake(times(1.1, "find", "ovl", words))),
            Figure("find_on", "the third find", "s", also_awake(times(1.1, "find_on", "ovl", words))),
            Figure("du", "du", "s", also_awake(times(1.1, "du", "ovl", words))),
            Figure("stat", f"{self.stats:,} stats", "s", also_awake(times(1.1, "stat", "ovl", words))),
        )

    def measure(self, column, first):
        answer = None
        with column.mounted(self.stack, writable=column.writes) as mount:
            figures = {}
            self.find(mount)
            # To have been read changes a directory's time of access, which the kernel asks a FUSE file system for the next time.
            for name, walk in (("find", self.find), ("find_on", self.find), ("du", self.du)):
                figures[name] = walk(mount)
            self.stat(mount)
            figures["stat"] = self.stat(mount)
            if first:
                answer = listing(mount.root)
            return figures, answer


class WalksCold(Walks):
    number = "6"
    title = "find, du, random stats of all layers, cold"
    peers = WalksWarm.peers

    def __init__(self, bench):
        super().__init__(bench)

        def targets(figure):
            return also_awake(times_best(1, figure, COMPRESSED, "<= the best compressed one"),
                              times(1, figure, "ovl", "goal: <= overlayfs"))  # fmt: skip

        self.figures = (
            Figure("find", "find", "s", targets("find")),
            Figure("du", "du", "s", targets("du")),
            Figure("stat", f"{self.stats:,} stats", "s", targets("stat")),
        )

    def measure(self, column, first):
        figures = {}
        for name, walk in (("find", self.find), ("du", self.du), ("stat", self.stat)):
            with cold_mount(column, self.stack, column.writes) as mount:
                figures[name] = walk(mount)
        return figures, None


class ManyLayers(Walks):
    number = "7"
    title = "the same with many small layers more"
    peers = STACKED

    def __init__(self, bench):
        super().__init__(bench)
        self.figures = tuple(
            figure
            for key, title in (("find_cold", "find, cold"), ("stat_cold", "stats, cold"), ("find", "find, warm"), ("du", "du, warm"),
                               ("stat", "stats, warm"))
            for figure in (
                Figure(f"few_{key}", f"few layers: {title}", "s"),
                Figure(f"many_{key}", f"{self.inputs.small_layers} more: {title}", "s", (times_own(1.1, f"few_{key}", "<= 1.1x few layers"),)),
            )
        )  # fmt: skip

    def prepare(self):
        super().prepare()
        self.many = self.inputs.many_layers()

    def warm_up(self, column):
        super().warm_up(column)
        column.images(self.many)

    def measure(self, column, first):
        figures = {}
        answer = None
        for prefix, stack in (("few", self.stack), ("many", self.many)):
            with cold_mount(column, stack) as mount:
                figures[f"{prefix}_find_cold"] = self.find(mount)
                for name, walk in (("find", self.find), ("du", self.du), ("stat", self.stat)):
                    walk(mount)
                    figures[f"{prefix}_{name}"] = walk(mount)
                if first:
                    answer = listing(mount.root)
            with cold_mount(column, stack) as mount:
                figures[f"{prefix}_stat_cold"] = self.stat(mount)
        return figures, answer


class Mounting(Row):
    number = "8"
    title = "mounting, from the start of the first program until the root answers, warm"
    peers = (*STACKED, "squashfs", "erofs")

    def __init__(self, bench):
        super().__init__(bench)
        more = f"{self.inputs.small_layers} layers more"
        self.figures = (
            Figure("few", "few layers", "ms", (at_most(0.015, "15 ms"),)),
            Figure("many", more, "ms", (at_most(0.050, "50 ms"),)),
            Figure("million", f"one layer of {self.inputs.million_directories * 1000:,} files", "ms", (at_most(0.050, "50 ms"),)),
            Figure("thousand", "1,000 layers", "ms", (succeeds("it mounts"),)),
            Figure("processes", f"processes for {more}", "", (at_most(1, "1"),)),
            Figure("memory", "their memory, after the mount", "MB"),
        )

    def prepare(self):
        self.few = self.inputs.layers()
        self.many = self.inputs.many_layers()
        self.large = self.inputs.million()
        self.thousand = self.inputs.thousand_layers()
        self.thousand_fails = {}

    def warm_up(self, column):
        column.images(self.large)
        if column.stacks:
            for stack in (self.few, self.many):
                column.images(stack)

    def mount_warm(self, column, stack):
        """The second of two mounts, so that images are in the page cache (--quick: the only one). Returns: (seconds, processes, bytes)."""
        for _ in range(1 if self.bench.quick else 2):
            with column.mounted(stack, column.writes) as mount:
                os.stat(mount.root)
                told = mount.seconds, len(mount.daemons), mount.resident_bytes()
        return told

    def measure(self, column, first):
        figures = {"million": self.mount_warm(column, self.large)[0]}
        if not column.stacks:
            return figures, None
        figures["few"] = self.mount_warm(column, self.few)[0]
        figures["many"], processes, memory = self.mount_warm(column, self.many)
        if processes:  # the kernel's have none, and keep theirs in its memory
            figures["processes"] = processes
            figures["memory"] = memory
        if column in (self.bench.peers["varvefs"], self.bench.peers["ovl"], self.bench.peers["fo"]):
            try:
                figures["thousand"] = self.mount_thousand(column)
            except RuntimeError as error:
                self.bench.place.clear()
                self.thousand_fails.setdefault(column.name, str(error))
        return figures, None

    def close(self):
        super().close()
        for name, error in self.thousand_fails.items():
            self.note(f"{name}: 1,000 layers fail: {error}")

    def mount_thousand(self, column):
        with column.mounted(self.thousand, column.writes) as mount:
            found = len(os.listdir(mount.root))
            if found != len(self.thousand.trees):
                raise RuntimeError(f"{found} files are to be seen of {len(self.thousand.trees)}")
            return mount.seconds


class Memory(Row):
    number = "18"
    title = "memory of the daemons after a find over all layers"
    peers = ("varvefs", "fo", "fo+sqf", "squashfuse", "dwarfs")
    baseline = "fo"
    figures = (
        Figure("mounted", "after the mount", "MB"),
        Figure("walked", "after find", "MB", (at_most(8 * MEGABYTE + CACHE_BYTES, "8 MB and the cache's 64 MiB"),)),
    )

    def prepare(self):
        self.stack = self.inputs.layers()

    def measure(self, column, first):
        drop_caches()
        with column.mounted(self.stack, writable=column.writes) as mount:
            os.stat(mount.root)
            mounted = mount.resident_bytes()
            seconds_of("find", mount.root)
            walked = mount.resident_bytes()
            return {"mounted": mounted, "walked": walked}, listing(mount.root) if first else None


ROWS = (WalksWarm, WalksCold, ManyLayers, Mounting, Memory)
