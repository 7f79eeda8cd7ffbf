"""Row 17: containers start. bench/container_start tells more of the same, also as an ordinary user."""

import os

from rows.row import Figure, Row, at_most, times
from starting import choose_cases, make_layers, make_root, run_once, unmount_below

from benchlib import find_program

ROOT_ALONE = "varve, namespaces and root"
ON_LAYERS = "varve, three layers"


class Case:
    def __init__(self, name, command=None, reason=None):
        self.name = name
        self.command = command
        self.reason = reason

    def absent(self):
        return self.reason


class Start(Row):
    number = "17"
    title = "`true` starts and ends in a small root; layers: with mount and unmount"
    baseline = "bubblewrap"
    figures = (
        Figure("wall", "time", "ms", (times(1.2, "wall", "bubblewrap", "<= 1.2x bubblewrap", column=ROOT_ALONE),
                                      at_most(0.010, "10 ms", column=ON_LAYERS))),
        Figure("cpu", "processor", "ms"),
    )  # fmt: skip

    def rounds(self, asked):
        return 4 * asked  # they take milliseconds

    def prepare(self):
        scratch = self.bench.place.directory("start-")
        self.undo.callback(unmount_below, scratch)
        binaries = self.bench.place.binaries
        root = os.path.join(scratch, "root")
        make_root(root)
        layers = make_layers(find_program("imagetool", binaries), scratch)
        self.cases, self.left_out = choose_cases(False, binaries, scratch, root, layers, self.bench.place.short_directory())

    def columns(self):
        columns = {name: Case(name, command) for name, command in self.cases}
        return columns | {name: Case(name, reason=reason) for name, reason in self.left_out.items()}

    def warm_up(self, column):
        for _ in range(2):
            run_once(column.command, False)

    def measure(self, column, first):
        told = run_once(column.command, False)
        return {"wall": told["wall"] / 1000, "cpu": told["cpu"] / 1000}, None


ROWS = (Start,)
