"""What the benchmarks of builders share: one run and what it takes, rounds in turn, the table."""

import os
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
KIB = 1024
MEGABYTE = 1000 * 1000


class Builder:
    """One column of the comparison: a command line for a tree and an output, and the builder it is compared with."""

    def __init__(self, name, command, baseline=None):
        self.name = name
        self.command = command  # (tree, output) -> list of words
        self.baseline = baseline  # name of the builder that ratios are of; None: no ratios


def measure(command, output):
    """One run: seconds by the clock, seconds of processor, bytes resident at most, bytes written."""
    if os.path.exists(output):
        os.unlink(output)
    os.sync()
    with tempfile.TemporaryFile() as said:
        begin = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        end = time.monotonic()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            said.seek(0)
            words = said.read().decode(errors="replace").strip().splitlines()[-3:]
            raise RuntimeError(f"{' '.join(command)}: exit status {process.returncode}: {' '.join(words)}")
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
        "memory_bytes": usage.ru_maxrss * KIB,
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


def summary(runs):
    """Median, least and most of each figure."""
    return {
        figure: {
            "median": statistics.median(run[figure] for run in runs),
            "least": min(run[figure] for run in runs),
            "most": max(run[figure] for run in runs),
        }
        for figure in runs[0]
    }


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
    print(f"\n{title}")
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
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        print("  " + "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ).rstrip())  # fmt: skip


def find_imagetool(directory):
    """Of the release build, else of another one; or in `directory`."""
    if directory:
        return os.path.join(os.path.abspath(directory), "imagetool")
    for preset in ("release", "ci", "dev"):
        path = os.path.join(ROOT, "build", preset, "bin", "imagetool")
        if os.path.exists(path):
            return path
    sys.exit("imagetool is not built (cmake --preset release && cmake --build --preset release; or --bin DIR)")


def make_tree(name):
    """The path of a tree of bench/make-tree; None, with a line of output, when it cannot be made."""
    made = subprocess.run([os.path.join(HERE, "make-tree"), name], stdout=subprocess.PIPE, text=True, check=False)
    if made.returncode != 0:
        print(f"tree {name}: left out, it could not be made (see above)")
        return None
    return made.stdout.strip()


def install_peers():
    """Whether the programs to compare with are there now."""
    install = os.path.join(ROOT, "scripts", "install-dependencies")
    return subprocess.run([install, "bench"], stdout=subprocess.DEVNULL, check=False).returncode == 0
