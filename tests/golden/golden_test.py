#!/usr/bin/python3
"""Reads every golden layer by the second reader (read_layer.py) and by imagetool; each must find what NAME.json says.

Usage: golden_test.py IMAGETOOL DIRECTORY     exit status 1 on any difference, and when there is no golden layer
"""

import glob
import hashlib
import json
import os
import subprocess
import sys

TYPES = {0o100000: "regular", 0o040000: "directory", 0o120000: "symlink", 0o020000: "character device",
         0o060000: "block device", 0o010000: "fifo", 0o140000: "socket"}


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def as_golden(said):
    """An entry of `imagetool layer ls --json` in the words of the golden listing."""
    if said.get("whiteout"):
        return {"path": said["path"], "type": "whiteout"}
    mode = int(said["mode"], 8)
    entry = {"path": said["path"], "type": TYPES[mode & 0o170000], "mode": f"{mode & 0o7777:04o}",
             "mtime_ns": said["mtime"] * 10**9 + said["mtime_nanoseconds"]}
    if entry["type"] == "regular":
        entry["size"] = said["size"]
    for key in ("uid", "gid", "target", "device", "xattrs", "opaque", "redirect"):
        if key in said:
            entry[key] = said[key]
    return entry


def differences(reader, wanted, found, left_out=()):
    """`left_out`: what this reader does not tell."""
    wanted = {entry["path"]: {key: value for key, value in entry.items() if key not in left_out} for entry in wanted}
    found = {entry["path"]: entry for entry in found}
    for path in sorted(wanted.keys() | found.keys()):
        if wanted.get(path) != found.get(path):
            yield f"{reader}: {path!r}: {found.get(path)}, not {wanted.get(path)}"


def is_utf8(path):
    return not any("\udc80" <= letter <= "\udcff" or letter == "\ufffd" for letter in path)


def parents_of(layer):
    """Words that give a program the layers below, which NAME.parents names, the nearest first."""
    try:
        with open(layer.removesuffix(".layer") + ".parents", encoding="ascii") as file:
            paths = [os.path.join(os.path.dirname(layer), line.strip()) for line in file]
    except FileNotFoundError:
        return []
    return [word for path in paths for word in ("--parent", path)]


def check(imagetool, layer):
    reader = os.path.join(os.path.dirname(os.path.abspath(__file__)), "read_layer.py")
    with open(layer.removesuffix(".layer") + ".json", encoding="ascii") as file:
        wanted = json.load(file)
    python = ["/usr/bin/python3", "-B", reader]
    parents = parents_of(layer)
    output(*python, "verify", *parents, layer)
    output(imagetool, "layer", "verify", layer, *parents)
    told = json.loads(output(*python, "ls", "--contents", *parents, layer))
    # Which files inherit is the writer's choice; what they are is not. Holes are told of files that stand alone only.
    inheriting = {entry["path"] for entry in told if entry.pop("delta", False)}
    if parents and len(inheriting) < 4:
        yield f"{layer}: {len(inheriting)} files inherit, which is too few to show anything"
    yield from differences("read_layer.py", [
        {key: value for key, value in entry.items() if key != "data" or entry["path"] not in inheriting} for entry in wanted
    ], told)  # fmt: skip
    # Its JSON cannot hold names that are no UTF-8: those are compared by content alone.
    listed = [as_golden(entry) for entry in json.loads(output(imagetool, "layer", "ls", "--json", layer, *parents))]
    yield from differences("imagetool ls", [entry for entry in wanted if is_utf8(entry["path"])],
                           [entry for entry in listed if is_utf8(entry["path"])],
                           ("sha256", "same_as", "data"))
    files = [entry for entry in wanted if entry["type"] == "regular"]
    for entry in files[:40] + [entry for entry in files[40:] if not entry["path"].startswith("/many/")]:
        path = os.fsencode(entry["path"])
        for command in ([imagetool, "layer", "cat", layer, path, *parents], [*python, "cat", *parents, layer, path]):
            if hashlib.sha256(output(*command)).hexdigest() != entry["sha256"]:
                yield f"{command}: {entry['path']!r}: other content"
    print(f"{layer}: {len(wanted)} objects, {len(inheriting)} of them inherit")


def main(imagetool, directory):
    layers = sorted(glob.glob(os.path.join(directory, "*.layer")))
    if not layers:
        sys.exit(f"no golden layer in {directory} (make one: tests/golden/make.py)")
    found = [line for layer in layers for line in check(imagetool, layer)]
    for line in found:
        print(line)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
