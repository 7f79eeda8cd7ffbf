"""What bench/run works on: real trees, large files, an archive, a repository, sources, a package. Made once and kept in the cache."""

import contextlib
import glob
import os
import random
import shutil
import subprocess

from benchlib import HERE, TREES, make_tree
from committing import make_archive
from peers import Overlay, Stack, inside, run

MIB = 1 << 20
SEED = 20261128
SOURCE = """\
#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

struct Entry%(number)d {
  std::string name;
  std::vector<int> values;
};

int sum_%(number)d(int count) {
  std::map<std::string, std::unique_ptr<Entry%(number)d>> entries;
  for (int i = 0; i < count; ++i) {
    std::ostringstream name;
    name << "entry " << i << " of " << %(number)d;
    entries[name.str()] = std::make_unique<Entry%(number)d>(Entry%(number)d{name.str(), std::vector<int>(i, %(number)d)});
  }
  int sum = 0;
  for (const auto& [name, entry] : entries) {
    sum += static_cast<int>(name.size()) + static_cast<int>(std::count(entry->values.begin(), entry->values.end(), 1));
  }
  std::cout << sum << "\\n";
  return sum;
}
"""


PYTHON_START = "import asyncio, email.mime.text, json, sqlite3, ssl, urllib.request; import numpy; print(numpy.arange(7).sum())"
LIBRARIES = f"/usr/lib/{os.uname().machine}-linux-gnu"
# No package of the trees was configured: alternatives have no links, and Python's modules are not compiled.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "LD_LIBRARY_PATH": f"{LIBRARIES}/blas:{LIBRARIES}/lapack",
    "PYTHONPYCACHEPREFIX": "/srv/pycache",
    "DEBIAN_FRONTEND": "noninteractive",
}


class Inputs:
    """`quick`: smaller ones. Each method makes what it names on its first call and raises RuntimeError where that fails."""

    def __init__(self, place, quick):
        self.place = place
        self.quick = quick
        self.big_mib = 64 if quick else 1024
        self.renamed_directories = 5 if quick else 100
        self.log_mib = 16 if quick else 100
        self.upper_mib = 32 if quick else 256
        self.small_layers = 25 if quick else 125
        self.archive_directories = 20 if quick else 500
        self.repository_directories = 20 if quick else 300
        self.million_directories = 50 if quick else 1000
        self.sources = 6 if quick else 100
        self.built_client = None

    def kept(self, name, make):
        """The path `name` in the cache; make(path) makes it, under another name until it is whole."""
        path = os.path.join(self.place.cache, name)
        if not os.path.exists(path):
            unfinished = os.path.join(self.place.scratch, "unfinished")
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(unfinished)
            os.mkdir(unfinished)
            made = os.path.join(unfinished, "made")
            make(made)
            os.rename(made, path)
        return path

    def client(self):
        """The program of bench/client.cc, built here."""
        if self.built_client is None:
            self.built_client = os.path.join(self.place.scratch, "client")
            run(os.environ.get("CXX", "c++"), "-std=c++20", "-O2", "-o", self.built_client, os.path.join(HERE, "client.cc"))
        return self.built_client

    def tree(self, name):
        tree = make_tree(name)
        if tree is None:
            raise RuntimeError(f"the tree {name} could not be made: bench/make-tree says why")
        return tree

    def base(self):
        return Stack("base", [self.tree("base")])

    def real_layers(self):
        """Three layers, the base at the bottom."""
        return Stack("real", [self.tree(name) for name in reversed(TREES)])

    def layers(self):
        """Of rows that walk all of it: the three, or one when it must be quick."""
        return self.base() if self.quick else self.real_layers()

    def many_layers(self):
        """Many small layers over layers()."""
        below = self.layers()
        trees = self.kept(f"small-layers-{self.small_layers}", lambda path: self.make_small_layers(path, self.tree("base")))
        names = sorted(os.listdir(trees))
        return Stack(f"many-{self.small_layers}-{below.name}", [os.path.join(trees, name) for name in names] + below.trees)

    def make_small_layers(self, path, base):
        """Each changes 16 files of the base and brings a directory with four."""
        found = run("find", ".", "-type", "f", "-size", "-64k", "-printf", "%P\\n", cwd=base)
        victims = sorted(found.splitlines())
        random.Random(SEED).shuffle(victims)
        os.mkdir(path)
        for number in range(self.small_layers):
            tree = os.path.join(path, f"{number:03d}")
            os.mkdir(tree)
            shutil.copystat(base, tree)
            for victim in victims[number * 16:number * 16 + 16]:
                self.copy_with_parents(base, tree, victim)
                with open(os.path.join(tree, victim), "ab") as file:
                    file.write(b"\n# changed\n")
            os.makedirs(os.path.join(tree, "opt", f"layer-{number:03d}"))
            for name in range(4):
                with open(os.path.join(tree, "opt", f"layer-{number:03d}", f"file-{name}"), "w", encoding="ascii") as file:
                    file.write(f"file {name} of layer {number}\n" * 10)

    def copy_with_parents(self, source, target, name):
        parts = name.split("/")
        for depth in range(1, len(parts)):
            directory = "/".join(parts[:depth])
            if not os.path.isdir(os.path.join(target, directory)):
                os.mkdir(os.path.join(target, directory))
                shutil.copystat(os.path.join(source, directory), os.path.join(target, directory))
        shutil.copy2(os.path.join(source, name), os.path.join(target, name))

    def thousand_layers(self):
        trees = self.kept("thousand-layers", make_thousand_layers)
        return Stack("thousand", [os.path.join(trees, f"{number:03d}") for number in range(1000)])

    def big(self):
        """One compressible file `big`: the contents of the trees, one after the other."""
        trees = [self.tree(name) for name in (TREES[:1] if self.quick else TREES)]
        name = f"big-{self.big_mib}"

        def make(path):
            os.mkdir(path)
            make_big(trees, os.path.join(path, "big"), self.big_mib * MIB)

        return Stack(name, [self.kept(name, make)])

    def log(self):
        """One file `log` of lines."""
        name = f"log-{self.log_mib}"

        def make(path):
            os.mkdir(path)
            numbers = random.Random(SEED)
            with open(os.path.join(path, "log"), "w", encoding="ascii") as file:
                for number in range(self.log_mib * MIB // 64):
                    file.write(f"{number:010d} request {numbers.getrandbits(128):032x} served\n".ljust(63)[:63] + "\n")

        return Stack(name, [self.kept(name, make)])

    def to_rename(self):
        """`large`: 100 files in each of its directories; `small`: 10 files in one."""
        name = f"to-rename-{self.renamed_directories}"

        def make(path):
            os.makedirs(os.path.join(path, "large"))
            os.makedirs(os.path.join(path, "small"))
            self.make_files(os.path.join(path, "large"), self.renamed_directories, 100, 100)
            self.make_files(os.path.join(path, "small"), 1, 10, 100)

        return Stack(name, [self.kept(name, make)])

    def make_files(self, directory, directories, each, size):
        run(self.client(), "make-files", directory, directories, each, size, SEED)

    def archive(self):
        """A tar of small files, 100 in each directory, 4,000 bytes each. Returns: (path, files)."""
        directories = self.archive_directories

        def make(path):
            tree = path + "-tree"
            os.mkdir(tree)
            self.make_files(tree, directories, 100, 4000)
            run("tar", "-C", tree, "-cf", path, ".")

        return self.kept(f"small-files-{directories}.tar", make), directories * 100

    def commit_archive(self):
        """A tar of a root with 5,000 small files and a large incompressible one (bench/committing.py)."""
        return self.kept(f"commit-{self.big_mib}.tar", lambda path: make_archive(path, self.big_mib))

    def repository(self):
        """A git repository `repository` with 100 files in each directory, all committed.

        It looks at sizes and whole seconds alone, since not all peers keep more, and inode numbers are new in each."""
        directories = self.repository_directories

        def make(path):
            tree = os.path.join(path, "repository")
            os.makedirs(tree)
            self.make_files(tree, directories, 100, 400)
            git = ["git", "-C", tree, "-c", "user.name=bench", "-c", "user.email=bench@localhost"]
            run("git", "init", "--quiet", tree)
            for option in ("core.checkStat=minimal", "core.trustctime=false", "gc.auto=0"):
                run(*git, "config", *option.split("="))
            run(*git, "add", ".")
            run(*git, "commit", "--quiet", "-m", "all")

        return Stack(f"repository-{directories}", [self.kept(f"repository-{directories}", make)])

    def programs(self):
        """The three layers under one with sources in /srv/sources and what Python makes of its modules in /srv/pycache."""
        count = self.sources

        def make(path):
            sources = os.path.join(path, "srv", "sources")
            os.makedirs(sources)
            for number in range(count):
                with open(os.path.join(sources, f"{number:03d}.cc"), "w", encoding="ascii") as file:
                    file.write(SOURCE % {"number": number})
            with Overlay("overlayfs", self.place).mounted(self.real_layers(), writable=True) as mount:
                run(*inside(mount.root, "python3", "-c", PYTHON_START), env=ENVIRONMENT)
                shutil.copytree(os.path.join(mount.upper, "srv", "pycache"), os.path.join(path, "srv", "pycache"))

        return Stack(f"programs-{count}", [self.kept(f"programs-{count}", make), *self.real_layers().trees])

    def package(self):
        """The base with a large package beside it, /srv/package.deb (of Perl's modules)."""

        def make(path):
            os.makedirs(os.path.join(path, "srv"))
            depends = run("apt-cache", "depends", "--important", "perl")
            name = next(line.split()[-1] for line in depends.splitlines() if "perl-modules" in line)
            run("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", name, cwd=os.path.join(path, "srv"))
            (deb,) = glob.glob(os.path.join(path, "srv", "*.deb"))
            os.rename(deb, os.path.join(path, "srv", "package.deb"))

        return Stack("package", [self.kept("package", make), *self.base().trees])

    def million(self):
        """A million empty files in a thousand directories."""
        name = f"million-{self.million_directories}"

        def make(path):
            os.mkdir(path)
            self.make_files(path, self.million_directories, 1000, 0)

        return Stack(name, [self.kept(name, make)])

    def empty(self):
        return Stack("empty", [self.kept("empty", os.mkdir)])

    def paths(self, stack):
        """A file with the paths that the union of the stack's trees surely has: all of its topmost tree that is large."""
        largest = stack.trees[-1] if self.quick else stack.trees[-len(TREES)]

        def make(path):
            with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
                found = run("find", ".", "-mindepth", "1", "-printf", "%P\\n", cwd=largest)
                file.write("\n".join(sorted(found.splitlines())) + "\n")

        return self.kept(f"paths-{os.path.basename(os.path.dirname(largest))}", make)


def make_thousand_layers(path):
    for number in range(1000):
        tree = os.path.join(path, f"{number:03d}")
        os.makedirs(tree)
        with open(os.path.join(tree, f"file-{number:03d}"), "w", encoding="ascii") as file:
            file.write(f"layer {number}\n")


def make_big(trees, path, size):
    """A file of `size` bytes: the trees' regular files, one after the other, from the beginning again at the end."""
    written = 0
    with open(path, "wb") as out:
        while written < size:
            for tree in trees:
                names = subprocess.run(["find", tree, "-type", "f", "-size", "+16k", "-print0"],
                                       capture_output=True, check=True).stdout  # fmt: skip
                for name in sorted(names.split(b"\0")[:-1]):
                    with open(name, "rb") as file:
                        content = file.read(min(size - written, 1 << 28))
                    out.write(content)
                    written += len(content)
