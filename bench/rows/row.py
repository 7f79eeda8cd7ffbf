"""What a row of bench/run is: its figures, what varvefs must reach in each, its columns, and one run of a column.

Figures are seconds, bytes or counts; less is better in all of them. A run is {figure: value}; a column may leave figures out.
"""

import contextlib
import dataclasses
import hashlib
import math
import subprocess
import time
from collections.abc import Callable

from benchlib import KIB, MEGABYTE, drop_caches

UNITS = {"s": 1, "ms": 1e-3, "us": 1e-6, "KiB": KIB, "MB": MEGABYTE, "": 1}


@dataclasses.dataclass(frozen=True)
class Target:
    """`bound`: {figure: {column: median}} -> the most that the median of `column` may be; None: nothing to compare with."""

    words: str
    bound: Callable
    column: str = "varvefs"


@dataclasses.dataclass(frozen=True)
class Figure:
    key: str
    title: str
    unit: str
    targets: tuple = ()

    @property
    def heading(self):
        return f"{self.title}, {self.unit}" if self.unit else self.title

    def shown(self, value):
        scaled = value / UNITS[self.unit]
        if math.isinf(scaled):
            return "any"
        if scaled == 0 or self.unit == "":
            return f"{scaled:.0f}"
        return f"{scaled:.{min(4, max(0, 2 - math.floor(math.log10(scaled))))}f}"


def succeeds(words, column="varvefs"):
    """That the figure is there."""
    return Target(words, lambda medians: math.inf, column)


def at_most(value, words, column="varvefs"):
    return Target(f"<= {words}", lambda medians: value, column)


def times(factor, figure, other, words, column="varvefs"):
    """The median is at most `factor` times that of the column `other`."""

    def bound(medians):
        median = medians[figure].get(other)
        return None if median is None else factor * median

    return Target(words, bound, column)


def times_best(factor, figure, others, words, column="varvefs"):
    """The same, of the best of several columns."""

    def bound(medians):
        there = [medians[figure][other] for other in others if other in medians[figure]]
        return factor * min(there) if there else None

    return Target(words, bound, column)


def times_own(factor, figure, words, column="varvefs"):
    """The same, of another figure of the same column."""

    def bound(medians):
        median = medians[figure].get(column)
        return None if median is None else factor * median

    return Target(words, bound, column)


class Row:
    """prepare() makes the inputs; columns() are asked for absent() and given to measure() in turn.

    `bench` is the session (bench/session.py)."""

    number = ""
    title = ""
    peers = ()
    figures = ()
    baseline = "ovl"

    def __init__(self, bench):
        self.bench = bench
        self.inputs = bench.inputs
        self.undo = contextlib.ExitStack()
        self.notes = []

    def prepare(self):
        pass

    def close(self):
        self.undo.close()

    def columns(self):
        """{key: object with name and absent()}"""
        return {key: self.bench.peers[key] for key in self.peers}

    def rounds(self, asked):
        """Of this row, when the person asked for `asked`."""
        return asked

    def warm_up(self, column):
        """Before the first round of all: images are made, outside of what is measured."""
        if hasattr(self, "stack"):
            column.images(self.stack)

    def measure(self, column, first):
        """One run. Returns: ({figure: value}, answer); the answer (None: not asked) must be the same in all columns.

        first: this is the first round, an answer is wanted."""
        raise NotImplementedError

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)


AWAKE = "varvefs awake"
AWAKE_WORDS = "wakeup_us=0: "


def also_awake(*targets):
    """`targets`, and the same of varvefs with -o wakeup_us=0 (docs/decisions/0023)."""
    return (*targets, *(dataclasses.replace(target, words=f"{AWAKE_WORDS}{target.words}", column=AWAKE) for target in targets))


def seconds_of(*words, allowed=(0,), **options):
    """Runs a program to its end. Raises RuntimeError when it ends otherwise than with a status that is allowed."""
    with contextlib.ExitStack() as stack:
        if "stdout" not in options:
            options["stdout"] = subprocess.DEVNULL
        begin = time.monotonic()
        process = stack.enter_context(subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL,
                                                       stderr=subprocess.PIPE, text=True, errors="replace", **options))  # fmt: skip
        said = process.communicate()[1]
        passed = time.monotonic() - begin
        if process.returncode not in allowed:
            command = " ".join(map(str, words))[:120]
            raise RuntimeError(f"{command}: exit status {process.returncode}: {said.strip()[-200:]}")
    return passed


def listing(root):
    """A digest of what find sees: type, mode, size of files, path, target of links."""
    found = subprocess.run(["find", root, "-mindepth", "1", "(", "-type", "f", "-printf", "f %m %s %P\\0", ")", "-o",
                            "-printf", "%y %m %P %l\\0"], capture_output=True, check=False)  # fmt: skip
    if found.returncode != 0:
        raise RuntimeError(f"find {root} fails: {found.stderr.decode(errors='replace').strip()[:200]}")
    entries = sorted(found.stdout.split(b"\0")[:-1])
    whole = hashlib.sha256(b"\0".join(entries))
    return f"{len(entries)} entries, {whole.hexdigest()[:16]}"


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


@contextlib.contextmanager
def cold_mount(column, stack, writable=True):
    """Nothing of it is in the kernel's caches, nor in a daemon's."""
    drop_caches()
    with column.mounted(stack, writable) as mount:
        yield mount
