"""Rows 14 to 16: layers and images are built. bench/layer_build, layer_delta and image_commit tell more of the same."""

import os

from building import dwarfs_builder, erofs_builder, measure, read_all, squashfs_builder, tar_builder, varve_builder
from committing import Podman, Upper, Varve
from deltas import BASELINE, builders_for, make_case
from rows.row import Figure, Row, at_most, times

from benchlib import MEGABYTE, find_program

JOBS = 2
MAX = "varve max"


class BuilderColumn:
    """A builder as a column; `trees`: names of the trees that it is measured on."""

    def __init__(self, builder, trees):
        self.builder = builder
        self.name = builder.name
        self.trees = trees

    def absent(self):
        return None

    def figures(self, tree, path, scratch):
        output = os.path.join(scratch, "output")
        told = measure(self.builder.command(path, output), output)
        os.unlink(output)
        return {f"{tree}_time": told["seconds"], f"{tree}_size": told["size_bytes"], f"{tree}_memory": told["memory_bytes"]}


class Absent:
    def __init__(self, name, reason):
        self.name = name
        self.reason = reason

    def absent(self):
        return self.reason


def build_figures(tree, title, with_max):

    def targets(figure, factor):
        of_max = times(factor, figure, "mkdwarfs -l7", f"max: <= {factor}x mkdwarfs -l7", column=MAX)
        return (
            times(1, figure, "mksquashfs 64K", "<= mksquashfs, 64K", column="varve 64K"),
            times(1, figure, "mksquashfs 128K", "<= mksquashfs, 128K", column="varve 128K"),
            *([of_max] if with_max else []),
        )

    return (
        Figure(f"{tree}_time", f"{title}: time", "s", targets(f"{tree}_time", 1)),
        Figure(f"{tree}_size", f"{title}: size", "MB", targets(f"{tree}_size", 1.1)),
        Figure(f"{tree}_memory", f"{title}: memory", "MB", (at_most(200 * MEGABYTE, "200 MB", column="varve 64K"),)),
    )  # fmt: skip


class Build(Row):
    number = "14"
    title = f"a layer is built, zstd -3, {JOBS} threads"
    baseline = "mksquashfs 64K"

    def __init__(self, bench):
        super().__init__(bench)
        self.figures = build_figures("base", "the Debian tree", not bench.quick)
        if not bench.quick:
            self.figures += build_figures("merged", "three layers in one", False)

    def prepare(self):
        self.trees = {"base": self.inputs.tree("base")}
        if not self.bench.quick:
            union = self.undo.enter_context(self.bench.peers["ovl"].mounted(self.inputs.real_layers()))
            self.trees["merged"] = union.root
        for tree in self.trees.values():
            read_all(tree)

    def columns(self):
        imagetool = find_program("imagetool", self.bench.place.binaries)
        both = tuple(self.trees)
        columns = [
            BuilderColumn(varve_builder(imagetool, f"varve {kib}K", ["--level", "3", "--frame-size", f"{kib}K"], JOBS, None), both)
            for kib in (64, 128)
        ]
        columns += [BuilderColumn(squashfs_builder(kib, 3, JOBS), both) for kib in (64, 128)]
        columns.append(BuilderColumn(tar_builder(JOBS), both))
        erofs = erofs_builder()
        columns.append(BuilderColumn(erofs, both) if erofs else Absent("mkfs.erofs", "there is no mkfs.erofs"))
        if not self.bench.quick:
            # As small as it gets takes long: on the smaller tree alone.
            columns.append(BuilderColumn(varve_builder(imagetool, MAX, ["--profile", "max"], JOBS, None), ("base",)))
        missing = self.bench.peers["dwarfs"].absent()
        for level in (3, 7):
            builder = dwarfs_builder(level, JOBS)
            columns.append(Absent(builder.name, missing) if missing else BuilderColumn(builder, both if level == 3 else ("base",)))
        return {column.name: column for column in columns}

    def measure(self, column, first):
        figures = {}
        for tree in column.trees:
            figures |= column.figures(tree, self.trees[tree], self.bench.place.scratch)
        return figures, None


class Delta(Row):
    number = "15"
    title = "layers of a rebuilt image"
    baseline = BASELINE
    figures = tuple(
        figure
        for case, title, factor in (("upgrade", "packages upgraded", 0.6), ("database", "a database changed", 0.6))
        for figure in (
            Figure(f"{case}_size", f"{title}: size", "MB",
                   tuple(times(factor, f"{case}_size", BASELINE, f"<= {factor}x the layer without parents", column=column)
                         for column in ("varve --parent", "varve --dedup=cdc"))),
            Figure(f"{case}_time", f"{title}: time", "s"),
        )
    )  # fmt: skip

    def prepare(self):
        imagetool = find_program("imagetool", self.bench.place.binaries)
        self.cases = {}
        self.built = {}
        for case in ("upgrade", "database"):
            trees, base = make_case(case, self.bench.place.directory(), imagetool, 20 if self.bench.quick else 1)
            if trees is None:
                self.note(f"{case}: left out, its packages cannot be had")
                continue
            read_all(trees["changed"])
            self.cases[case] = trees
            for builder in builders_for(imagetool, JOBS, base):
                self.built.setdefault(builder.name, {})[case] = BuilderColumn(builder, ())
        if not self.cases:
            raise RuntimeError("no case can be made")

    def columns(self):
        return {name: Absent(name, None) for name in self.built}

    def measure(self, column, first):
        figures = {}
        for case, trees in self.cases.items():
            figures |= self.built[column.name][case].figures(case, trees, self.bench.place.scratch)
        return figures, None


class CommitColumn:
    def __init__(self, name, commit, size):
        self.name = name
        self.commit = commit  # number of the round -> seconds
        self.size = size  # () -> bytes of the new layer, or None

    def absent(self):
        return None


class Commit(Row):
    number = "16"
    title = "a change becomes an image: 1,000 files, and 4 KiB in a large incompressible one"
    baseline = "podman"
    figures = (
        Figure("time", "time", "s", (at_most(0.3, "0.3 s", column="varve, ended"),)),
        Figure("size", "the new layer", "MB", (at_most(10 * MEGABYTE, "10 MB", column="varve, ended"),)),
    )

    def prepare(self):
        scratch = self.bench.place.directory("commit-")
        self.count = 0
        self.engines = []
        archive = self.inputs.commit_archive()
        place = self.bench.place
        for engine, more in ((Varve, [place.binaries]), (Upper, []), (Podman, [place.short_directory()])):
            try:
                one = engine(scratch, archive, *more)
            except (RuntimeError, FileNotFoundError) as error:
                self.note(f"{engine.name}: left out: {error}")
                continue
            self.undo.callback(one.end)
            self.engines.append(one)

    def columns(self):
        return {name: CommitColumn(name, commit, engine.layer_bytes) for engine in self.engines for name, commit in engine.commits()}

    def warm_up(self, column):
        column.commit(0)

    def measure(self, column, first):
        self.count += 1
        # What the others wrote is not to be waited for in this one's fsync.
        os.sync()
        figures = {"time": column.commit(self.count)}
        size = column.size(column.name, self.count)
        if size is not None:
            figures["size"] = size
        return figures, None


ROWS = (Build, Delta, Commit)
