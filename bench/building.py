"""What the benchmarks of builders share: the builders, one run and what it takes, rounds in turn, the table."""

import os
import subprocess
import tempfile
import time

from benchlib import KIB, MEGABYTE, mkfs_erofs, print_rows, summary


class Builder:
    """One column of the comparison: a command line for a tree and an output, and the builder it is compared with."""

    def __init__(self, name, command, baseline=None):
        self.name = name
        self.command = command  # (tree, output) -> list of words
        self.baseline = baseline  # name of the builder that ratios are of; None: no ratios


def varve_builder(imagetool, name, options, jobs, baseline):
    def command(tree, output):
        return [imagetool, "--progress=none", "layer", "build", tree, "-o", output, "--jobs", str(jobs), *options]

    return Builder(name, command, baseline)


def squashfs_builder(kib, level, jobs, options=()):
    def command(tree, output):
        return ["mksquashfs", tree, output, "-comp", "zstd", "-Xcompression-level", str(level), "-b", f"{kib}K",
                "-processors", str(jobs), "-noappend", "-no-progress", "-quiet", *options]  # fmt: skip

    return Builder(f"mksquashfs {kib}K", command)


def erofs_builder():
    """mkfs.erofs with zstd where it has it (1.8 on), else with lz4hc; None where it is not installed."""
    found = mkfs_erofs()
    if found is None:
        return None
    program, option = found

    def command(tree, output):
        return [program, "--quiet", f"-z{option}", "-C65536", output, tree]

    return Builder(f"mkfs.erofs 64K {option.split(',')[0]}", command, "mksquashfs 64K")


def dwarfs_builder(level, jobs, baseline=None):
    def command(tree, output):
        return ["mkdwarfs", "-i", tree, "-o", output, f"-l{level}", "-N", str(jobs), "--no-progress", "--log-level=error"]

    return Builder(f"mkdwarfs -l{level}", command, baseline)


def tar_builder(jobs, baseline=None):
    def command(tree, output):
        return ["tar", "--create", "--file", output, f"--use-compress-program=zstd -3 -T{jobs} --quiet", "--directory", tree,
                "--xattrs", "--xattrs-include=*", "."]  # fmt: skip

    return Builder("tar, zstd -3", command, baseline)


def measure(command, output):
    """One run: seconds by the clock, seconds of processor, bytes resident at most, bytes written."""
    if os.path.exists(output):
        os.unlink(output)
    os.sync()
    with tempfile.TemporaryFile() as said, tempfile.NamedTemporaryFile() as told:
        # Linux counts for a new program what its process had resident before, which would be this interpreter: time(1) has next to nothing.
        alone = ["time", "--quiet", "--format=%M", "--output", told.name, *command]
        begin = time.monotonic()
        process = subprocess.Popen(alone, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        end = time.monotonic()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            said.seek(0)
            words = said.read().decode(errors="replace").strip().splitlines()[-3:]
            raise RuntimeError(f"{' '.join(command)}: exit status {process.returncode}: {' '.join(words)}")
        resident_kib = int(told.read())
    descriptor = os.open(output, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        synced = time.monotonic()
        size = os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
    return {
        "seconds": end - begin,
        "seconds_on_disk": synced - begin,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "memory_bytes": resident_kib * KIB,
        "size_bytes": size,
    }


def read_all(tree):
    """Brings the tree into the page cache. Returns: objects and bytes of content."""
    objects = 0
    content = 0
    for directory, _, files in os.walk(tree):
        objects += 1
        for name in files:
            objects += 1
            path = os.path.join(directory, name)
            if os.path.islink(path) or not os.path.isfile(path):
                continue
            with open(path, "rb") as file:
                while piece := file.read(1 << 20):
                    content += len(piece)
    return objects, content


def compare(tree, builders, rounds, scratch):
    runs = {builder.name: [] for builder in builders}
    for number in range(rounds):
        # Another one begins each round.
        first = number % len(builders)
        for builder in builders[first:] + builders[:first]:
            output = os.path.join(scratch, "output")
            runs[builder.name].append(measure(builder.command(tree, output), output))
            os.unlink(output)
    return {name: summary(of_one) for name, of_one in runs.items()}


def print_table(title, results, builders):
    head = ("builder", "time s", "range", "on disk", "cpu s", "memory MB", "size MB", "x time", "x on disk", "x size")
    rows = [head]
    for builder in builders:
        one = results[builder.name]
        base = results.get(builder.baseline)

        def ratio(figure, one=one, base=base):
            return f"{one[figure]['median'] / base[figure]['median']:.3f}" if base else ""

        seconds = one["seconds"]
        size = one["size_bytes"]["median"] / MEGABYTE
        rows.append((
            builder.name,
            f"{seconds['median']:.2f}",
            f"{seconds['least']:.2f}-{seconds['most']:.2f}",
            f"{one['seconds_on_disk']['median']:.2f}",
            f"{one['cpu_seconds']['median']:.2f}",
            f"{one['memory_bytes']['median'] / MEGABYTE:.0f}",
            f"{size:.2f}" if size >= 1 else f"{size:.4f}",
            ratio("seconds"),
            ratio("seconds_on_disk"),
            ratio("size_bytes"),
        ))  # fmt: skip
    print_rows(title, rows)
