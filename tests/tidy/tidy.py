#!/usr/bin/env python3
"""Holds the tree to the rules that a compiler does not know: who may include whom, and how long things may grow.

Usage: tidy.py ROOT    prints one line per violation, `FILE:LINE: RULE: what (what to do)`; exit status 1 when there is any.
It reads the files as they stand, whatever the repository says of them.
"""

import os
import re
import sys

import cpp_shape

SOURCE_FOLDERS = ("fs", "imagetool", "launcher", "manual", "tests", "bench")
SOURCE_ENDINGS = (".cc", ".h")
SCRIPT_ENDINGS = (".py", ".sh")
MAX_FILE_LINES = 800
MAX_FUNCTION_LINES = 70

# Room -> the rooms that its files may include beside their own. docs/architecture.md draws this picture.
# Arrows are transitive, downwards: daemon -> fuse -> view -> {layer, upper} -> {format, block} -> base.
LOW = {"base"}
MAY_INCLUDE = {
    "base": set(),
    "format": LOW,
    "block": LOW,
    "layer": LOW | {"format", "block"},
    "upper": LOW | {"format", "block"},
    "view": LOW | {"layer", "upper"},
    "fuse": LOW | {"view", "layer", "upper", "format"},
    "daemon": LOW | {"fuse", "view", "layer", "upper", "store"},
    "store": LOW,
    "writer": LOW | {"layer", "format"},
    "image": LOW | {"store", "writer", "layer", "upper", "format", "block"},
    "transport": LOW | {"store", "writer"},
    "transfer": LOW | {"transport", "image", "store", "writer", "layer", "upper", "format", "block"},
    "recipe": LOW | {"image", "store", "writer", "layer", "upper", "format", "block"},
    "imagetool": LOW | {"transport", "transfer", "recipe", "image", "store", "writer", "layer", "upper", "format", "block"},
    "launcher": LOW | {"store"},
    "manual": {"daemon", "fuse", "imagetool", "launcher"},
}
# A header that another room may include although the room it lies in is none of theirs, and why.
SINGLE_HEADERS = {
    ("upper", "fs/layer/layer.h"): "a partly copied file reads the rest from a lower file: the interface, not its readers",
}
LIBFUSE = re.compile(r"^(fuse[0-9]*/|fuse[a-z_]*\.h$|linux/fuse\.h$)")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
# Put together so that this file does not hold the words itself.
UNFINISHED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3)) + r")\b")


def room_of(path):
    """The room that a file lies in, or None for tests and benchmarks, which may include all."""
    parts = path.split("/")
    if parts[0] == "fs" and len(parts) > 2:
        return parts[1]
    if parts[0] == "imagetool":
        if len(parts) >= 3 and parts[1] in ("transport", "transfer", "recipe"):
            return parts[1]
        if len(parts) < 3 or parts[1] != "image":
            return "imagetool"
        return parts[2] if parts[2] in ("store", "writer") else "image"
    return parts[0] if parts[0] in ("launcher", "manual") else None


def source_files(root):
    for folder in SOURCE_FOLDERS + ("scripts", "cmake", ".ci"):
        for directory, folders, files in os.walk(os.path.join(root, folder)):
            folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))
            for name in sorted(files):
                yield os.path.relpath(os.path.join(directory, name), root)


def check_includes(path, lines):
    room = room_of(path)
    for number, line in enumerate(lines, 1):
        found = INCLUDE.match(line)
        if not found:
            continue
        bracket, target = found.groups()
        if LIBFUSE.match(target) and bracket == "<" and room not in ("fuse", None):
            yield number, "include", f"libfuse's <{target}> outside fs/fuse (put what needs it into fs/fuse)"
        if re.match(r"fuse[0-9]*/", target):
            yield number, "include", f"<{target}> is found in /usr/include, whichever libfuse is linked (leave the folder out)"
        if bracket == "<" or room is None:
            continue
        if target.split("/")[0] not in SOURCE_FOLDERS:
            yield number, "include", f'"{target}" is no path from the root of the repository (write it as one)'
            continue
        target_room = room_of(target)
        if target_room is None:
            yield number, "include", f'"{target}" belongs to the tests (the product must not include it)'
        elif room not in MAY_INCLUDE or target_room not in MAY_INCLUDE:
            yield number, "include", f'"{target}": unknown room (name it in tests/tidy/tidy.py and docs/architecture.md)'
        elif target_room != room and target_room not in MAY_INCLUDE[room] and (room, target) not in SINGLE_HEADERS:
            yield number, "include", f'{room} includes "{target}" of {target_room} (the arrows run the other way)'


def check_header(lines):
    code = [line.strip() for line in lines if line.strip() and not line.strip().startswith("//")]
    if not code or code[0] != "#pragma once":
        yield 1, "header", "does not begin with #pragma once (add it)"
    if not any(line.startswith("//") for line in lines):
        yield 1, "header", "has no comment (say what it is, its thread rule, who owns it)"
    for number, line in enumerate(lines, 1):
        if re.match(r"\s*using\s+namespace\b", line):
            yield number, "header", "using namespace in a header (write the names out)"


def check_functions(text):
    for function in cpp_shape.functions(text):
        size = function.last_line - function.first_line + 1
        if size > MAX_FUNCTION_LINES:
            yield function.first_line, "size", (
                f"function {function.name} has {size} lines, more than {MAX_FUNCTION_LINES} (take parts out of it)"
            )


def check_text(path, text):
    lines = text.split("\n")
    if text.count("\n") > MAX_FILE_LINES:
        yield MAX_FILE_LINES, "size", (
            f"{text.count(chr(10))} lines, more than {MAX_FILE_LINES} (it holds two things: split it)"
        )
    for number, line in enumerate(lines, 1):
        if UNFINISHED.search(line):
            yield number, "unfinished", "a mark of unfinished work (finish it, or open an issue)"


def violations(root):
    for path in source_files(root):
        is_source = path.endswith(SOURCE_ENDINGS)
        if not is_source and not path.endswith(SCRIPT_ENDINGS) and not path.startswith(("scripts/", ".ci/")):
            continue
        with open(os.path.join(root, path), encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
        found = list(check_text(path, text))
        if is_source:
            lines = text.split("\n")
            found += check_includes(path, lines)
            found += check_functions(text)
            if path.endswith(".h"):
                found += check_header(lines)
        for number, rule, what in sorted(found):
            yield f"{path}:{number}: {rule}: {what}"


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    found = list(violations(sys.argv[1]))
    for line in found:
        print(line)
    print(f"{len(found)} violations", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
