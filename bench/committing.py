"""What bench/image_commit and row 16 share: an image with small files and a large one, a change of it, and who makes an image of that."""

import json
import os
import random
import shutil
import time

from benchlib import find_program
from building import squashfs_builder, tar_builder
from peers import inside, run, unmount

FILES = 5000
CHANGE = (
    "i=0; while [ $i -lt 1000 ]; do echo changed $i >/tree/$((i / 100))/$i; i=$((i + 1)); done; "
    "dd if=/bin/busybox of=/data/large bs=4096 count=1 seek=4000 conv=notrunc 2>/dev/null"
)


def make_root(path, large_mib):
    for name in ("bin", "dev", "proc"):
        os.makedirs(os.path.join(path, name))
    shutil.copy(shutil.which("busybox"), os.path.join(path, "bin/busybox"))
    for applet in ("sh", "dd", "sleep"):
        os.symlink("busybox", os.path.join(path, "bin", applet))
    numbers = random.Random(1)
    os.makedirs(os.path.join(path, "data"))
    with open(os.path.join(path, "data/large"), "wb") as file:
        for _ in range(large_mib):
            file.write(numbers.randbytes(1 << 20))
    for number in range(FILES):
        directory = os.path.join(path, "tree", str(number // 100))
        os.makedirs(directory, exist_ok=True)
        with open(os.path.join(directory, str(number)), "wb") as file:
            file.write(numbers.randbytes(3000) + b"x" * 1000)


def make_archive(path, large_mib):
    """A tar of the root with a file of `large_mib` MiB."""
    root = path + "-root"
    make_root(root, large_mib)
    run("tar", "-C", root, "-cf", path, ".")
    shutil.rmtree(root)


def seconds_of(*words, **options):
    begin = time.monotonic()
    run(*words, **options)
    return time.monotonic() - begin


class Varve:
    """Two containers with the change: one has ended, one runs."""

    name = "imagetool commit"

    def __init__(self, scratch, archive, binaries):
        self.imagetool = find_program("imagetool", binaries)
        self.varve = find_program("varve", binaries)
        self.environment = dict(os.environ, VARVE_STORE=os.path.join(scratch, "store"))
        self.run(self.imagetool, "import", archive, "base")
        self.run(self.varve, "run", "--name", "ended", "base", "sh", "-c", CHANGE)
        self.run(self.varve, "run", "-d", "--name", "running", "base", "sh", "-c", CHANGE + "; echo ready; sleep 10000")
        while "ready" not in self.run(self.varve, "logs", "running"):
            time.sleep(0.1)

    def run(self, *words):
        return run(*words, env=self.environment)

    def commits(self):
        for container in ("ended", "running"):
            yield f"varve, {container}", lambda number, c=container: seconds_of(
                self.imagetool, "commit", c, f"{c}:{number}", env=self.environment)  # fmt: skip

    def layer_bytes(self, name, number):
        """Of the commit `number` of one of commits()."""
        (image,) = json.loads(self.run(self.imagetool, "inspect", f"{name.split()[-1]}:{number}"))
        return image["layers"][-1]["bytes"]

    def end(self):
        self.run(self.varve, "rm", "-f", "running")


class Podman:
    """podman and buildah on one storage, with a container each."""

    name = "podman and buildah"

    def __init__(self, scratch, archive, runroot):
        storage = ["--root", f"{scratch}/storage", "--runroot", runroot, "--storage-driver", "overlay"]
        self.podman = ["podman"] + storage + ["--runtime", "runc", "--cgroup-manager", "cgroupfs"]
        self.buildah = ["buildah"] + storage
        run(*self.podman, "import", archive, "base")
        run(*self.podman, "run", "--name", "c", "--network", "none", "--ulimit", "nofile=20000:20000", "--ulimit", "nproc=30000:30000",
            "base", "sh", "-c", CHANGE)  # fmt: skip
        self.working = None
        if shutil.which("buildah"):
            self.working = run(*self.buildah, "from", "--pull-never", "localhost/base").strip()
            run(*self.buildah, "run", "--isolation", "chroot", self.working, "sh", "-c", CHANGE)

    def commits(self):
        yield "podman", lambda number: seconds_of(*self.podman, "commit", "-q", "c", f"localhost/podman:{number}")
        if self.working:
            yield "buildah", lambda number: seconds_of(*self.buildah, "commit", "-q", self.working, f"localhost/buildah:{number}")

    def layer_bytes(self, name, number):
        return json.loads(run(*self.podman, "history", "--format", "json", f"localhost/{name}:{number}"))[0]["size"]

    def end(self):
        run(*self.podman, "system", "reset", "-f")


class Upper:
    """What makes a layer of the upper of overlayfs: mksquashfs, and tar."""

    name = "the upper of overlayfs"

    def __init__(self, scratch, archive):
        self.home = os.path.join(scratch, "upper-of-overlayfs")
        for name in ("lower", "upper", "work", "root"):
            os.makedirs(os.path.join(self.home, name))
        run("tar", "-C", f"{self.home}/lower", "-xf", archive)
        root = f"{self.home}/root"
        run("mount", "-t", "overlay", "overlay", "-o", "lowerdir=lower,upperdir=upper,workdir=work", root, cwd=self.home)
        try:
            run(*inside(root, "/bin/sh", "-c", CHANGE))
        finally:
            unmount(root)

    def commits(self):
        for name, builder in (("mksquashfs of the upper", squashfs_builder(64, 3, 2)), ("tar, zstd -3 of the upper", tar_builder(2))):
            yield name, lambda number, b=builder: self.build(b)

    def build(self, builder):
        output = f"{self.home}/output"
        if os.path.exists(output):
            os.unlink(output)
        return seconds_of(*builder.command(f"{self.home}/upper", output))

    def layer_bytes(self, name, number):
        del name, number
        return os.path.getsize(f"{self.home}/output")

    def end(self):
        shutil.rmtree(self.home)
