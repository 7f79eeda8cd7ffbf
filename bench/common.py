"""What the benchmarks of this folder share: trees of many small files, programs of the build, tables."""

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
MEGABYTE = 1000 * 1000


def make_files(tree, directories, files_each, first=0):
    """Small files of about 100 bytes, each another; directories are numbered from `first` on. Returns: the tree."""
    for directory in range(first, first + directories):
        path = os.path.join(tree, f"{directory:03d}")
        os.makedirs(path)
        for number in range(files_each):
            with open(f"{path}/file-{number:04d}.txt", "w", encoding="ascii") as file:
                file.write(f"file {number} of directory {directory}\n" * (1 + number % 5))
    return tree


def find_program(name, directory, who):
    """Of the build in `directory`, else of the first preset that was built. Ends the program when there is none."""
    if directory:
        return os.path.join(os.path.abspath(directory), name)
    for preset in ("release", "ci", "dev"):
        path = os.path.join(ROOT, "build", preset, "bin", name)
        if os.path.exists(path):
            return path
    sys.exit(f"{who}: {name} is not built (cmake --preset release && cmake --build --preset release; or --bin DIR)")


def install_peers():
    """Whether the programs that are compared with are there."""
    install = os.path.join(ROOT, "scripts", "install-dependencies")
    return subprocess.run([install, "bench"], stdout=subprocess.DEVNULL, check=False).returncode == 0


def print_rows(title, rows):
    """`rows`: the head first; the first column to the left, the others to the right."""
    print(f"\n{title}")
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  " + "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ).rstrip())  # fmt: skip
