#!/usr/bin/env python3
"""Whether what a command wrote with --json is what the table "JSON" of docs/images.md says.

Usage: json_shape.py IMAGES.md COMMAND <OUTPUT    with all rows of the table that begin with COMMAND; one line for each difference,
exit status 1 when there is any. An array must have elements, or nothing is compared.
"""

import json
import re
import sys


def rows_of(path, command):
    """(fields that lead to it, "array" or "object", keys) of each row of the command."""
    section = open(path, encoding="utf-8").read().split("\n## JSON\n")[1].split("\n## ")[0]
    for line in section.splitlines():
        if not line.startswith("| `"):
            continue
        name, kind, keys = (cell.strip() for cell in line.strip("| ").split(" | "))
        words = re.match(r"((?:`[^`]+` ?)+)", name).group(1).replace("`", "").split()
        if words[0] == command:
            yield words[1:], kind.split()[0].rstrip(","), set(re.findall(r"`([^`]+)`", keys))


def elements_at(value, fields):
    """What the fields lead to, through all elements of the arrays on the way."""
    if isinstance(value, list) and fields:
        return [found for element in value for found in elements_at(element, fields)]
    return elements_at(value[fields[0]], fields[1:]) if fields else [value]


def main(docs, command):
    value = json.load(sys.stdin)
    wrong = []
    rows = list(rows_of(docs, command))
    if not rows:
        wrong.append(f"no row for {command} in {docs}")
    for fields, kind, keys in rows:
        where = " ".join([command, *fields])
        objects = []
        for found in elements_at(value, fields):
            if isinstance(found, list) != (kind == "array"):
                wrong.append(f"{where}: is no {kind}")
            objects += found if isinstance(found, list) else [found]
        if not objects:
            wrong.append(f"{where}: is empty")
        for one in objects:
            if set(one) != keys:
                wrong.append(f"{where}: has {sorted(set(one) - keys)} more, {sorted(keys - set(one))} less than documented")
    for line in dict.fromkeys(wrong):
        print(line)
    return 1 if wrong else 0


sys.exit(main(*sys.argv[1:]))
