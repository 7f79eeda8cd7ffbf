"""The file systems that are compared: how each makes its images of a stack of trees, mounts them, and is taken down.

A Peer mounts a Stack, read-only or under an empty upper of its own, and yields a Mount. What cannot be had here is told by
Peer.absent(), which gives the reason. Images of the peers are kept between runs in Place.cache; layers of varvefs are made
anew for each run, since the programs under test make them.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time

from benchlib import KIB, find_program, mkfs_erofs

SQUASHFS_OPTIONS = ["-comp", "zstd", "-Xcompression-level", "3", "-b", "128K", "-noappend", "-no-progress", "-quiet"]
ENTER = 'mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && root=$1 && shift && exec chroot "$root" "$@"'
MOUNT_DEADLINE_SECONDS = 60
BUSY_DEADLINE_SECONDS = 20


def run(*words, **options):
    """Runs a program to its end, in silence. Raises RuntimeError with its last words when it fails."""
    done = subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                          check=False, **options)  # fmt: skip
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split())[-300:]
        raise RuntimeError(f"{' '.join(map(str, words))[:80]}: exit status {done.returncode}: {said}")
    return done.stdout


def inside(root, *words):
    """A command that runs the words in a root of its own, in which /proc and /dev are mounted for them alone."""
    return ["unshare", "--mount", "sh", "-c", ENTER, "enter", root, *words]


def mount_points_below(directory):
    """The latest first."""
    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
        points = [line.split()[1] for line in file]
    return [point for point in reversed(points) if point.startswith(directory + "/")]


def unmount(path):
    """Somebody may still look at it for a moment: a busy one is tried again. Raises RuntimeError when it stays busy."""
    deadline = time.monotonic() + BUSY_DEADLINE_SECONDS
    while True:
        try:
            run("umount", path)
            return
        except RuntimeError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def allocated_bytes(directory):
    """Blocks that the files of a directory take, each inode once; inodes themselves do not count."""
    seen = {}
    for path, _, files in os.walk(directory):
        for name in [".", *files]:
            status = os.lstat(os.path.join(path, name))
            seen[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(seen.values())


class Place:
    """Where a run works. `cache` is kept between runs; `scratch` is removed by close(), which unmounts all below it first.

    Both lie on the same real file system, that of the uppers.
    """

    def __init__(self, cache, binaries=None):
        os.makedirs(cache, exist_ok=True)
        self.cache = cache
        self.binaries = binaries
        self.scratch = tempfile.mkdtemp(prefix="run-", dir=cache)
        self.short = []
        self.daemons = []

    def directory(self, prefix="in-"):
        """A new empty one in the scratch directory."""
        return tempfile.mkdtemp(prefix=prefix, dir=self.scratch)

    def short_directory(self):
        """A new one for state, whose path has less than 50 characters, which podman asks for."""
        self.short.append(tempfile.mkdtemp(prefix="varve-bench-", dir="/tmp"))
        return self.short[-1]

    def mount_points(self):
        return [point for directory in [*self.short, self.scratch] for point in mount_points_below(directory)]

    def clear(self):
        """Takes down what a failure left mounted. Raises RuntimeError when something cannot be unmounted."""
        for point in self.mount_points():
            with contextlib.suppress(RuntimeError):
                run("umount", point)
        for daemon in self.daemons:
            if daemon.poll() is None:
                daemon.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    daemon.wait(timeout=10)
            if daemon.poll() is None:
                daemon.kill()
                daemon.wait()
        self.daemons = []
        for point in self.mount_points():
            run("umount", "--lazy", point)

    def close(self):
        self.clear()
        for directory in filter(os.path.exists, [*self.short, self.scratch]):
            shutil.rmtree(directory)


class Stack:
    """Trees over each other, the topmost first. `name` is what images are kept by."""

    def __init__(self, name, trees):
        self.name = name
        self.trees = list(trees)


class Mount:
    """A mounted stack. `root`: where; `upper`: the directory that its writes go to, or None."""

    def __init__(self, root, upper=None):
        self.root = root
        self.upper = upper
        self.seconds = 0.0  # from the start of the first program to the answer of the root
        self.daemons = []
        self.logs = []  # of each daemon, a file with all that it said

    def path(self, *names):
        return os.path.join(self.root, *names)

    def resident_bytes(self):
        """Of the daemons that serve the mount, now; 0 when the kernel does."""
        total = 0
        for daemon in self.daemons:
            with open(f"/proc/{daemon.pid}/status", encoding="ascii") as file:
                total += sum(int(line.split()[1]) * KIB for line in file if line.startswith("VmRSS"))
        return total

    def upper_bytes(self):
        """What the upper takes on disk, written back before."""
        os.sync()
        return allocated_bytes(self.upper)


class Peer:
    """One column of the comparison."""

    writes = True  # it can be mounted under an upper
    stacks = True  # it takes several layers

    def __init__(self, name, place):
        self.name = name
        self.place = place

    def absent(self):
        """Why it cannot be had here; None when it can."""
        return None

    def images(self, stack):
        """One path for each layer, the topmost first; made when they are not there."""
        return stack.trees

    def stored_bytes(self, stack):
        return sum(os.path.getsize(image) for image in self.images(stack) if os.path.isfile(image))

    @contextlib.contextmanager
    def mounted(self, stack, writable=False):
        """A context in which the stack lies at the Mount's root. Images are made before its clock runs."""
        images = self.images(stack)
        with contextlib.ExitStack() as undo:
            home = self.place.directory("mount-")
            undo.callback(shutil.rmtree, home)
            for name in ("root", "lower", "upper", "work", "empty"):
                os.mkdir(os.path.join(home, name))
            mount = Mount(os.path.join(home, "root"), os.path.join(home, "upper") if writable else None)
            begin = time.monotonic()
            self.attach(mount, images, home, undo)
            mount.seconds = time.monotonic() - begin
            yield mount

    def attach(self, mount, images, home, undo):
        """Mounts at mount.root, and leaves with `undo` what takes it down."""
        raise NotImplementedError

    def serve(self, mount, words, path, undo):
        """Starts a daemon that stays in the foreground and waits until `path` answers."""
        said = undo.enter_context(tempfile.TemporaryFile(dir=self.place.scratch))
        # A session of its own: Ctrl-C is for us, who unmount before it ends.
        daemon = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                                  start_new_session=True)  # fmt: skip
        self.place.daemons.append(daemon)
        undo.callback(self.end_daemon, daemon, path, said)
        deadline = time.monotonic() + MOUNT_DEADLINE_SECONDS
        while not os.path.ismount(path):
            if daemon.poll() is not None:
                raise RuntimeError(f"{self.name} did not mount: {last_words(said)}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not mount within {MOUNT_DEADLINE_SECONDS} s")
            time.sleep(0.0002)
        mount.daemons.append(daemon)
        mount.logs.append(said)

    def end_daemon(self, daemon, path, said):
        """Raises RuntimeError when the daemon ends otherwise than by the unmount."""
        if os.path.ismount(path):
            unmount(path)
        try:
            status = daemon.wait(timeout=MOUNT_DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            daemon.send_signal(signal.SIGKILL)
            daemon.wait()
            raise RuntimeError(f"{self.name}: the daemon did not end after the unmount") from None
        finally:
            if daemon in self.place.daemons:
                self.place.daemons.remove(daemon)
        if status != 0:
            raise RuntimeError(f"{self.name}: the daemon ended with status {status}: {last_words(said)}")


def last_words(file):
    file.seek(0)
    return file.read().decode(errors="replace").strip()[-300:]


def program_missing(program):
    return None if shutil.which(program) else f"there is no {program}"


def kernel_lacks(kind):
    with open("/proc/filesystems", encoding="ascii") as file:
        if kind in file.read().split():
            return None
    loaded = subprocess.run(["modprobe", kind], capture_output=True, check=False) if shutil.which("modprobe") else None
    return None if loaded and loaded.returncode == 0 else f"the kernel has no {kind}"


class Native(Peer):
    """The file system below: a directory on it. Of a stack it has nothing."""

    @contextlib.contextmanager
    def mounted(self, stack, writable=True):
        home = self.place.directory("native-")
        try:
            yield Mount(home, home)
        finally:
            shutil.rmtree(home)


class Varve(Peer):
    """`build`: options of imagetool layer build; `options`: of the mount; `words`: of varvefs beside them."""

    def __init__(self, name, place, build=(), options="", words=()):
        super().__init__(name, place)
        self.build = list(build)
        self.options = options
        self.words = words
        self.varvefs = find_program("varvefs", place.binaries)
        self.imagetool = find_program("imagetool", place.binaries)

    def images(self, stack):
        directory = os.path.join(self.place.scratch, "-".join(["layers", stack.name, *(word.strip("-") for word in self.build)]))
        made = [os.path.join(directory, f"{number}.vrv") for number in range(len(stack.trees))]
        if not os.path.isdir(directory):
            os.mkdir(directory)
            for tree, layer in zip(stack.trees, made):
                run(self.imagetool, "--progress=none", "layer", "build", tree, "-o", layer, *self.build)
        return made

    def attach(self, mount, images, home, undo):
        options = f"lowerdir={':'.join(images)}"
        if len(images) > 200:  # an option string has its limits
            with open(f"{home}/list", "w", encoding="utf-8") as file:
                file.write("\n".join(images) + "\n")
            options = f"lowerlist={home}/list"
        if mount.upper:
            options += f",upperdir={mount.upper},workdir={home}/work"
        if self.options:
            options += f",{self.options}"
        self.serve(mount, [self.varvefs, "-f", *self.words, "-o", options, mount.root], mount.root, undo)


class Overlay(Peer):
    """The kernel's overlayfs over directories; over mounted images in its subclass."""

    def __init__(self, name, place, options=""):
        super().__init__(name, place)
        self.options = options

    def absent(self):
        return kernel_lacks("overlay")

    def attach(self, mount, images, home, undo):
        self.overlay(mount, images, home, undo)

    def overlay(self, mount, lowers, home, undo):
        # Short names relative to where mount(8) runs: its options must fit in a page.
        if mount.upper is None:
            lowers = [*lowers, f"{home}/empty"]  # without an upper the kernel wants two
        for number, lower in enumerate(lowers):
            os.symlink(lower, f"{home}/lower/{number}")
        options = "lowerdir=" + ":".join(map(str, range(len(lowers))))
        options += ",upperdir=../upper,workdir=../work" if mount.upper else ",ro"
        if self.options:
            options += f",{self.options}"
        run("mount", "-t", "overlay", "overlay", "-o", options, mount.root, cwd=f"{home}/lower")
        undo.callback(unmount, mount.root)


class FuseOverlay(Peer):
    def __init__(self, name, place):
        super().__init__(name, place)

    def absent(self):
        return program_missing("fuse-overlayfs")

    def attach(self, mount, images, home, undo):
        options = f"lowerdir={':'.join(images)}"
        if mount.upper:
            options += f",upperdir={mount.upper},workdir={home}/work"
        self.serve(mount, ["fuse-overlayfs", "-f", "-o", options, mount.root], mount.root, undo)


class Images:
    """Compressed images of a kind. `make`: (tree, image) -> command line."""

    def __init__(self, kind, suffix, program, make):
        self.kind = kind  # of mount(8); None: a program mounts them
        self.suffix = suffix
        self.program = program
        self.make = make

    def absent(self):
        return program_missing(self.program) or (self.kind and kernel_lacks(self.kind))

    def make_kept(self, place, tree, name):
        """The path of the image in the cache."""
        directory = os.path.join(place.cache, "images")
        os.makedirs(directory, exist_ok=True)
        path = os.path.join(directory, f"{name}.{self.suffix}")
        if not os.path.exists(path) or os.stat(path).st_mtime < os.stat(tree).st_ctime:
            # Its name comes last: what was broken off has another one.
            scratch = os.path.join(place.scratch, "image")
            with contextlib.suppress(FileNotFoundError):
                os.unlink(scratch)
            run(*self.make(tree, scratch))
            os.rename(scratch, path)
        return path

    def of_layers(self, place, stack):
        return [self.make_kept(place, tree, f"{stack.name}-{number}") for number, tree in enumerate(stack.trees)]

    def of_union(self, place, stack):
        """One image of all the layers, as overlayfs shows them."""
        if len(stack.trees) == 1:
            return self.of_layers(place, stack)[0]
        with Overlay("overlayfs", place).mounted(stack) as union:
            return self.make_kept(place, union.root, f"{stack.name}-union")

    def loop_mount(self, image, path, undo):
        run("mount", "-t", self.kind, "-o", "ro,loop", image, path)
        undo.callback(unmount, path)


def squashfs_images():
    return Images("squashfs", "squashfs", "mksquashfs", lambda tree, image: ["mksquashfs", tree, image, *SQUASHFS_OPTIONS])


def erofs_images(program=None, compression=None):
    """With the best compression that mkfs.erofs has. Returns: (images, name of the compression)."""
    found = mkfs_erofs(program)
    if found is None:
        return Images("erofs", "erofs", "mkfs.erofs", None), "none"
    program, best = found
    compression = compression or best
    short = compression.split(",")[0]
    return Images("erofs", f"erofs-{short}", program, lambda tree, image: [
        program, "--quiet", f"-z{compression}", "-C65536", image, tree]), short  # fmt: skip


def dwarfs_images():
    return Images(None, "dwarfs", "mkdwarfs", lambda tree, image: [
        "mkdwarfs", "-i", tree, "-o", image, "--no-progress", "--log-level=error"])  # fmt: skip


class OnImages:
    """Of a peer that lies over the kept images of the layers."""

    def __init__(self, name, place, kept):
        super().__init__(name, place)
        self.kept = kept

    def absent(self):
        return super().absent() or self.kept.absent()

    def images(self, stack):
        return self.kept.of_layers(self.place, stack)


class OverlayOnImages(OnImages, Overlay):
    """One loop mount for each layer, overlayfs over them."""

    def attach(self, mount, images, home, undo):
        lowers = []
        for number, image in enumerate(images):
            path = f"{home}/image-{number}"
            os.mkdir(path)
            self.kept.loop_mount(image, path, undo)
            lowers.append(path)
        self.overlay(mount, lowers, home, undo)


class FuseOverlayOnSquashfuse(OnImages, FuseOverlay):
    """A squashfuse for each layer, fuse-overlayfs over them."""

    def absent(self):
        return super().absent() or program_missing("squashfuse_ll")

    def attach(self, mount, images, home, undo):
        lowers = []
        for number, image in enumerate(images):
            path = f"{home}/image-{number}"
            os.mkdir(path)
            self.serve(mount, ["squashfuse_ll", "-f", image, path], path, undo)
            lowers.append(path)
        super().attach(mount, lowers, home, undo)


class SingleImage(Peer):
    """One image of all the layers, read-only. `daemon`: (image, path) -> command line; None: the kernel mounts it."""

    writes = False
    stacks = False

    def __init__(self, name, place, kept, daemon=None):
        super().__init__(name, place)
        self.kept = kept
        self.daemon = daemon

    def absent(self):
        return self.kept.absent() or (self.daemon and program_missing(self.daemon("", "")[0]))

    def images(self, stack):
        return [self.kept.of_union(self.place, stack)]

    def attach(self, mount, images, home, undo):
        if self.daemon:
            self.serve(mount, self.daemon(images[0], mount.root), mount.root, undo)
        else:
            self.kept.loop_mount(images[0], mount.root, undo)


class ReadOnly:
    """Another peer, mounted without an upper whatever the row asks for."""

    writes = False

    def __init__(self, name, peer):
        self.name = name
        self.peer = peer
        self.stacks = peer.stacks
        self.absent = peer.absent
        self.images = peer.images
        self.stored_bytes = peer.stored_bytes

    def mounted(self, stack, writable=False):
        del writable
        return self.peer.mounted(stack)


def make_peers(place, erofs_program=None):
    """All of them under short keys, present or not."""
    squashfs = squashfs_images()
    erofs, compression = erofs_images(erofs_program)
    varve = Varve("varvefs", place)
    overlay = Overlay("overlayfs", place)
    return {
        "varvefs": varve,
        "varvefs ro": ReadOnly("varvefs, read-only", varve),
        "varvefs awake": Varve("varvefs, wakeup_us=0", place, options="wakeup_us=0"),
        "varvefs 16K": Varve("varvefs, 16K frames", place, ["--frame-size", "16K"]),
        "varvefs asked": Varve("varvefs, no passthrough", place, options="passthrough=off"),
        "ovl": overlay,
        "ovl ro": ReadOnly("overlayfs, read-only", overlay),
        "ovl redirect": Overlay("overlayfs redirect_dir", place, "redirect_dir=on"),
        "ovl metacopy": Overlay("overlayfs metacopy", place, "metacopy=on"),
        "ovl+sqfs": OverlayOnImages("ovl+squashfs zstd", place, squashfs),
        "ovl+erofs": OverlayOnImages(f"ovl+erofs {compression}", place, erofs),
        "fo": FuseOverlay("fuse-overlayfs", place),
        "fo+sqf": FuseOverlayOnSquashfuse("fo+squashfuse", place, squashfs),
        "squashfs": SingleImage("squashfs, one image", place, squashfs),
        "erofs": SingleImage(f"erofs {compression}, one image", place, erofs),
        "squashfuse": SingleImage("squashfuse, one image", place, squashfs, lambda image, path: ["squashfuse_ll", "-f", image, path]),
        "dwarfs": SingleImage("dwarfs, one image", place, dwarfs_images(), lambda image, path: ["dwarfs", image, path, "-f"]),
        "native": Native("native", place),
    }
