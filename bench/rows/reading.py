"""Rows 9 and 10: how fast contents come out of layers. bench/layer_read takes its work from here."""

import hashlib
import os
import subprocess

from rows.row import AWAKE, Figure, Row, also_awake, cold_mount, digest, seconds_of, times

SEED = 20261124
RANDOM_READS = 20000
READ_ALL = 'find "$1" -type f -print0 | xargs -0 -n 1000 cat'


def read_files(root):
    """Seconds to read every file whole. Raises RuntimeError where one cannot be read."""
    return seconds_of("bash", "-o", "pipefail", "-c", READ_ALL, "read-all", root)


def digest_of_files(root):
    """SHA-256 over path and content of every regular file, in the order of paths."""
    whole = hashlib.sha256()
    paths = subprocess.run(["find", ".", "-type", "f", "-print0"], cwd=root, capture_output=True, check=True).stdout
    for path in sorted(paths.split(b"\0")[:-1]):
        whole.update(path + b"\0" + digest(os.path.join(os.fsencode(root), path)).encode())
    return whole.hexdigest()


def sizes(column, stack, mount):
    """Of the daemons and of the images, for those that have such."""
    told = {"resident": mount.resident_bytes(), "image": column.stored_bytes(stack)}
    return {key: size for key, size in told.items() if size > 0}


def measure_files(column, stack):
    """{figure: value} of every file of the stack, read cold and then warm."""
    with cold_mount(column, stack, column.writes) as mount:
        cold = read_files(mount.root)
        warm = min(read_files(mount.root) for _ in range(2))
        return {"cold": cold, "warm": warm, **sizes(column, stack, mount)}


def measure_big(column, stack, client, reads):
    """{figure: value} of the stack's one large file. `client`: runs a command of bench/client.cc."""
    figures = {}
    with cold_mount(column, stack, column.writes) as mount:
        path = mount.path("big")
        figures["sequential_cold"] = client("read-sequential", path)["read"]
        figures["sequential_warm"] = min(client("read-sequential", path)["read"] for _ in range(2))
        figures.update(sizes(column, stack, mount))
    with cold_mount(column, stack, column.writes) as mount:
        path = mount.path("big")
        os.stat(path)
        figures["random_cold"] = client("read-random", path, reads, SEED)["read"]
    return figures


class Files(Row):
    number = "9"
    title = "every file of all layers, read whole"
    peers = ("varvefs", AWAKE, "varvefs ro", "ovl", "ovl ro", "ovl+sqfs", "ovl+erofs", "fo", "fo+sqf", "squashfs", "erofs", "squashfuse",
             "dwarfs")  # fmt: skip
    figures = (
        Figure("cold", "cold", "s", also_awake(times(1, "cold", "ovl+erofs", "<= overlayfs on erofs"))),
        Figure("warm", "warm", "s", (times(2, "warm", "ovl", "writable: <= 2x overlayfs"),
                                     times(1.1, "warm", "ovl ro", "read-only: <= 1.1x overlayfs", column="varvefs ro"))),
        Figure("resident", "daemons' memory after it", "MB"),
        Figure("image", "images", "MB"),
    )  # fmt: skip

    def prepare(self):
        self.stack = self.inputs.layers()

    def measure(self, column, first):
        figures = measure_files(column, self.stack)
        answer = None
        if first:
            with column.mounted(self.stack, column.writes) as mount:
                answer = digest_of_files(mount.root)
        return figures, answer


class BigFile(Row):
    number = "10"
    title = "one large compressible file"
    peers = ("varvefs", "varvefs 16K", "ovl", "ovl+sqfs", "ovl+erofs", "fo+sqf", "squashfs", "erofs", "squashfuse", "dwarfs")

    def __init__(self, bench):
        super().__init__(bench)
        self.reads = RANDOM_READS // 20 if bench.quick else RANDOM_READS
        random_words = "<= 0.7x overlayfs on squashfs"
        self.figures = (
            Figure("sequential_cold", "in order, cold", "s",
                   (times(1, "sequential_cold", "ovl+erofs", "<= overlayfs on erofs"),)),
            Figure("sequential_warm", "in order, warm", "s"),
            Figure("random_cold", f"{self.reads:,} random 4 KiB, cold", "s",
                   (times(0.7, "random_cold", "ovl+sqfs", random_words),
                    times(0.7, "random_cold", "ovl+sqfs", f"16K frames: {random_words}", column="varvefs 16K"))),
            Figure("resident", "daemons' memory after it", "MB"),
            Figure("image", "image", "MB"),
        )  # fmt: skip

    def prepare(self):
        self.stack = self.inputs.big()

    def measure(self, column, first):
        figures = measure_big(column, self.stack, self.bench.client, self.reads)
        answer = None
        if first:
            with column.mounted(self.stack, column.writes) as mount:
                answer = digest(mount.path("big"))
        return figures, answer


ROWS = (Files, BigFile)
