"""Rows 11 and 12: what lies wholly in the upper. bench/upper_data takes its work from here."""

from rows.row import AWAKE, Figure, Row, also_awake, digest, listing, seconds_of, times

from benchlib import drop_caches

SMALL_ACCESSES = 10_000
SEED = 11
# In this order: the first makes the file that the others read and change. (key, title, command of bench/client.cc, what it tells).
# {file} and {log} are paths, {mib} the size.
WORK = (
    ("write", "write in order, 1 MiB each", "write-sequential {file} {mib}", "write"),
    ("read", "read in order, warm", "read-sequential {file}", "read"),
    ("read_cold", "read in order, cold", "read-sequential {file}", "read"),
    ("random_read", f"{SMALL_ACCESSES:,} random 4 KiB reads", f"read-random {{file}} {SMALL_ACCESSES} {SEED}", "read"),
    ("random_write", f"{SMALL_ACCESSES:,} random 4 KiB writes", f"write-random {{file}} {SMALL_ACCESSES} {SEED}", "write"),
    ("append", f"append {SMALL_ACCESSES:,} x 4 KiB", f"append-many {{log}} {SMALL_ACCESSES}", "append"),
    ("load", "load from each page of a mapping", "map-read {file}", "load"),
    ("store", "store into each page of a mapping", "map-write {file}", "store"),
)  # fmt: skip


def measure_data(root, client, mib):
    """{key: seconds} of all of WORK on new files in `root`. Nothing is synced within what is measured."""
    figures = {}
    names = {"file": f"{root}/file", "log": f"{root}/log", "mib": mib}
    for key, _, command, told in WORK:
        if key == "read_cold":
            drop_caches()
        figures[key] = client(*(word.format(**names) for word in command.split()))[told]
    return figures


class Data(Row):
    number = "11"
    title = "data of files wholly in the upper"
    peers = ("native", "varvefs", "varvefs asked", "ovl", "fo")
    baseline = "native"

    def __init__(self, bench):
        super().__init__(bench)
        self.title += f", {self.inputs.upper_mib} MiB"
        self.figures = tuple(
            Figure(key, title, "ms", (times(1 / 0.95, key, "native", ">= 0.95x native"),
                                      times(1 / 0.5, key, "native", "as rootless: >= 0.5x native", column="varvefs asked")))
            for key, title, _, _ in WORK
        )  # fmt: skip

    def prepare(self):
        self.stack = self.inputs.empty()

    def measure(self, column, first):
        with column.mounted(self.stack, writable=True) as mount:
            figures = measure_data(mount.root, self.bench.client, self.inputs.upper_mib)
            answer = digest(mount.path("file")) + digest(mount.path("log")) if first else None
        # What it wrote is not to be written back while the next one is measured.
        drop_caches()
        return figures, answer


class Extract(Row):
    number = "12"
    title = "extract an archive of small files"
    peers = ("native", "varvefs", AWAKE, "varvefs asked", "ovl", "fo")

    def __init__(self, bench):
        super().__init__(bench)
        self.figures = (
            Figure("tar", "tar x", "s", also_awake(times(1.5, "tar", "ovl", "<= 1.5x overlayfs"))),
            Figure("rm", "rm -rf of it", "s", also_awake(times(1.5, "rm", "ovl", "<= 1.5x overlayfs"))),
        )

    def prepare(self):
        self.stack = self.inputs.base()
        self.archive, files = self.inputs.archive()
        self.title = f"extract an archive of {files:,} small files, and remove them"

    def measure(self, column, first):
        drop_caches()
        with column.mounted(self.stack, writable=True) as mount:
            seconds_of("cat", self.archive)
            target = mount.path("extracted")
            seconds_of("mkdir", target)
            figures = {"tar": seconds_of("tar", "-xf", self.archive, "-C", target)}
            answer = listing(target) if first else None
            figures["rm"] = seconds_of("rm", "-rf", target)
        drop_caches()
        return figures, answer


ROWS = (Data, Extract)
