"""The cases of bench/layer_delta: trees of which the layer below holds the most, and the builders that are compared on them."""

import os
import random
import sqlite3
import subprocess

from benchlib import make_tree
from building import Builder, squashfs_builder, tar_builder

DATABASE_ROWS = 535_000
UPDATED_ROWS = 2000
LARGE_FILE_MIB = 1024
BASELINE = "varve alone"
WORDS = ("clay silt sand lake melt year thin dark layer frame block inode extent parent origin upper lower union "
         "mount write read sync cache daemon kernel image store tag").split()  # fmt: skip


def same_object(old, new):
    """Whether two paths hold the same but for the names of directories."""
    try:
        before = os.lstat(old)
    except FileNotFoundError:
        return False
    after = os.lstat(new)
    told = lambda status: (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, status.st_size)  # noqa: E731
    if told(before) != told(after):
        return False
    if os.path.islink(new):
        return os.readlink(old) == os.readlink(new)
    if not os.path.isfile(new):
        return True
    with open(old, "rb") as one, open(new, "rb") as other:
        while True:
            piece = one.read(1 << 20)
            if piece != other.read(1 << 20):
                return False
            if not piece:
                return True


def changed_names(old, new):
    """What of the tree `new` is not in `old`, with the directories on the way, relative."""
    names = {"."}
    for directory, directories, files in os.walk(new):
        links = [name for name in directories if os.path.islink(os.path.join(directory, name))]
        for name in files + links:
            relative = os.path.relpath(os.path.join(directory, name), new)
            if same_object(os.path.join(old, relative), os.path.join(new, relative)):
                continue
            while relative not in names:
                names.add(relative)
                relative = os.path.dirname(relative) or "."
    return sorted(names)


def copy_names(names, source, target):
    os.mkdir(target)
    pack = ["tar", "--create", "--directory", source, "--no-recursion", "--null", "--files-from", "-", "--xattrs",
            "--xattrs-include=*", "--format=pax"]  # fmt: skip
    unpack = ["tar", "--extract", "--directory", target, "--xattrs", "--xattrs-include=*", "--numeric-owner"]
    with subprocess.Popen(pack, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as packing:
        with subprocess.Popen(unpack, stdin=packing.stdout) as unpacking:
            packing.stdin.write("\0".join(names).encode(errors="surrogateescape"))
            packing.stdin.close()
        if packing.wait() != 0 or unpacking.returncode != 0:
            raise RuntimeError(f"copying the changed files of {source} failed")


def upgrade(scratch, build_base, divisor):
    del divisor
    trees = make_tree("upgrade")
    if trees is None:
        return None
    old, new = os.path.join(trees, "old"), os.path.join(trees, "new")
    build_base(old)
    changed = os.path.join(scratch, "changed")
    copy_names(changed_names(old, new), new, changed)
    return {"new": new, "changed": changed}


def fill_database(path, count):
    rows = random.Random(1)
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = OFF")
    database.execute("PRAGMA synchronous = OFF")
    database.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, body TEXT, mark TEXT)")
    body = lambda: " ".join(rows.choices(WORDS, k=88)) + f" {rows.getrandbits(320):080x}"  # noqa: E731
    database.executemany("INSERT INTO note VALUES (?, ?, ?)", ((i, body(), "0" * 16) for i in range(count)))
    database.commit()
    database.close()


def update_database(path, count, updated):
    rows = random.Random(2)
    database = sqlite3.connect(path)
    for number in rows.sample(range(count), updated):
        database.execute("UPDATE note SET mark = ? WHERE id = ?", (f"{rows.getrandbits(64):016x}", number))
    database.commit()
    database.close()


def database(scratch, build_base, divisor):
    tree = os.path.join(scratch, "tree")
    os.mkdir(tree)
    path = os.path.join(tree, "notes.sqlite")
    fill_database(path, DATABASE_ROWS // divisor)
    build_base(tree)
    update_database(path, DATABASE_ROWS // divisor, UPDATED_ROWS // divisor)
    return {"new": tree, "changed": tree}


def chmod(scratch, build_base, divisor):
    tree = os.path.join(scratch, "tree")
    os.mkdir(tree)
    path = os.path.join(tree, "large")
    with open(path, "wb") as file:
        for _ in range(LARGE_FILE_MIB // divisor):
            file.write(os.urandom(1 << 20))
    os.chmod(path, 0o644)
    build_base(tree)
    os.chmod(path, 0o600)
    return {"new": tree, "changed": tree}


CASES = {"upgrade": upgrade, "database": database, "chmod": chmod}


def make_case(name, scratch, imagetool, divisor=1):
    """Returns: ({"new": the whole new tree, "changed": its changed files alone}, path of the layer of the old tree); (None, path)
    where packages cannot be had. What is made here is smaller by the divisor."""
    base = os.path.join(scratch, f"{name}.layer")
    directory = os.path.join(scratch, name)
    os.mkdir(directory)
    trees = CASES[name](directory, lambda tree: subprocess.run(
        [imagetool, "--progress=none", "layer", "build", tree, "-o", base], check=True, stdout=subprocess.DEVNULL), divisor)  # fmt: skip
    return trees, base


def of_changed(builder):
    """The same builder on the tree of the changed files."""
    return Builder(builder.name, lambda trees, output: builder.command(trees["changed"], output), BASELINE)


def builders_for(imagetool, jobs, base):
    build = [imagetool, "--progress=none", "layer", "build", "--jobs", str(jobs)]

    def varve(name, which, options):
        return Builder(name, lambda trees, output: [*build, trees[which], "-o", output, *options], BASELINE)

    return [
        varve(BASELINE, "changed", []),
        varve("varve --parent", "changed", ["--parent", base]),
        varve("varve --diff", "new", ["--diff", "--parent", base]),
        varve("varve --dedup=cdc", "changed", ["--parent", base, "--dedup=cdc"]),
        varve("varve --dedup=cdc:4K", "changed", ["--parent", base, "--dedup=cdc:4K"]),
        of_changed(squashfs_builder(64, 3, jobs)),
        of_changed(tar_builder(jobs)),
    ]
