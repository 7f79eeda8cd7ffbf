#!/usr/bin/env python3
"""Lets clang read every source of the product: its warnings and the thread-safety analysis, as errors; nothing is built.

Usage: clang_check.py BUILD_DIRECTORY    (which holds compile_commands.json). Exit status 77 when there is no clang++.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

PRODUCT = ("fs/", "imagetool/", "launcher/")
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wthread-safety", "-Wno-unknown-warning-option", "-Werror"]


def clang_command(entry, clang):
    """The command for `entry` with the definitions and include paths of the build, and clang's own checks."""
    words = shlex.split(entry["command"])
    kept = [word for word in words if word.startswith(("-D", "-I", "-std="))]
    for index, word in enumerate(words[:-1]):
        if word in ("-isystem", "-include"):
            kept += [word, words[index + 1]]
    return [clang, "-fsyntax-only", *kept, *WARNINGS, entry["file"]]


def main():
    build = sys.argv[1]
    clang = shutil.which("clang++")
    if clang is None:
        print("skipped: there is no clang++ here (scripts/install-dependencies test)")
        return 77
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        entries = json.load(file)
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    product = [entry for entry in entries if os.path.relpath(entry["file"], root).startswith(PRODUCT)]

    def check(entry):
        done = subprocess.run(clang_command(entry, clang), cwd=entry["directory"], capture_output=True, text=True)
        return entry["file"], done.returncode, done.stderr

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        failures = [result for result in pool.map(check, product) if result[1] != 0]
    for _, _, messages in failures:
        print(messages)
    print(f"{len(product)} files read, {len(failures)} with errors")
    return 1 if failures or not product else 0


if __name__ == "__main__":
    sys.exit(main())
