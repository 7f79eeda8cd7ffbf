"""What the programs of bench/ share: finding our programs and trees, medians and ranges, tables, cold caches."""

import json
import os
import shutil
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
TREES = ("base", "gcc", "python")
KIB = 1024
MEGABYTE = 1000 * 1000


def install_peers():
    """Installs the packages of the group `bench`. Returns: whether they are there."""
    install = os.path.join(ROOT, "scripts", "install-dependencies")
    return subprocess.run([install, "bench"], stdout=subprocess.DEVNULL, check=False).returncode == 0


def find_program(name, directory=None):
    """The path of one of our programs: in `directory`, else in the first build that has it. Ends the program without."""
    if directory:
        return os.path.join(os.path.abspath(directory), name)
    for preset in ("release", "ci", "dev"):
        path = os.path.join(ROOT, "build", preset, "bin", name)
        if os.path.exists(path):
            return path
    sys.exit(f"{name} is not built (cmake --preset release && cmake --build --preset release; or --bin DIR)")


def make_tree(name):
    """The directory of a tree of bench/make-tree, which makes it when it is not there; None when it cannot be made."""
    made = subprocess.run([os.path.join(HERE, "make-tree"), name], stdout=subprocess.PIPE, text=True, check=False)
    if made.returncode != 0:
        print(f"tree {name}: left out, it could not be made (see above)")
        return None
    return made.stdout.strip()


def make_files(tree, directories, files_each, first=0):
    """Small files of about 100 bytes, each another; directories are numbered from `first` on. Returns: the tree."""
    for directory in range(first, first + directories):
        path = os.path.join(tree, f"{directory:03d}")
        os.makedirs(path)
        for number in range(files_each):
            with open(f"{path}/file-{number:04d}.txt", "w", encoding="ascii") as file:
                file.write(f"file {number} of directory {directory}\n" * (1 + number % 5))
    return tree


def cache_directory():
    """Where bench/make-tree keeps its trees."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(home, "varve-bench")


def mkfs_erofs(program=None):
    """(program, name of the best compression it has: "zstd,level=3" or "lz4hc"); None where there is no mkfs.erofs."""
    program = program or shutil.which("mkfs.erofs")
    if program is None:
        return None
    said = subprocess.run([program, "--help"], capture_output=True, text=True, check=False)
    return program, "zstd,level=3" if "zstd" in said.stdout + said.stderr else "lz4hc"


def drop_caches():
    """What was written is on disk, and nothing is in the kernel's caches."""
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
        file.write("3\n")


def summary(runs):
    """Median, least and most of each figure of a list of dictionaries with the same keys."""
    return {
        figure: {
            "median": statistics.median(run[figure] for run in runs),
            "least": min(run[figure] for run in runs),
            "most": max(run[figure] for run in runs),
        }
        for figure in runs[0]
    }


def write_json(path, content):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
        file.write("\n")


def print_rows(title, rows, left=1):
    """A table; the first row is the head, the first `left` columns are ranged left."""
    print(f"\n{title}")
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  " + "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ).rstrip())  # fmt: skip
