"""What bench/container_start and row 17 share: a small root, layers of it, and the commands that start `true` in them."""

import json
import os
import resource
import shutil
import subprocess
import tempfile
import time

from benchlib import find_program
from peers import mount_points_below, run

NOBODY = 65534
APPLETS = ("sh", "true", "mount", "umount", "mkdir")


def make_root(path):
    """busybox under a few names, and the directories that containers mount on."""
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
        os.makedirs(os.path.join(path, name))
    shutil.copy(shutil.which("busybox"), os.path.join(path, "bin/busybox"))
    for applet in APPLETS:
        os.symlink("busybox", os.path.join(path, "bin", applet))
    with open(os.path.join(path, "etc/passwd"), "w", encoding="ascii") as file:
        file.write("root:x:0:0:root:/root:/bin/sh\n")
    with open(os.path.join(path, "etc/group"), "w", encoding="ascii") as file:
        file.write("root:x:0:\n")


def make_layers(imagetool, scratch):
    """Three layer files, the root at the bottom. Returns: the paths, top first."""
    layers = []
    for number, name in enumerate(("top", "middle", "bottom")):
        tree = os.path.join(scratch, "tree-" + name)
        os.makedirs(tree)
        if name == "bottom":
            make_root(tree)
        else:
            os.makedirs(os.path.join(tree, "opt"))
            with open(os.path.join(tree, "opt", name), "w", encoding="ascii") as file:
                file.write(f"layer {number}\n" * 1000)
        layers.append(os.path.join(scratch, name + ".layer"))
        subprocess.run([imagetool, "layer", "build", tree, "-o", layers[-1]], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)  # fmt: skip
    return layers


def make_bundle(program, scratch, root, user):
    """An OCI bundle as `program spec` makes it, for `true` without a terminal. Returns: its directory."""
    bundle = os.path.join(scratch, "bundle-" + os.path.basename(program))
    os.makedirs(bundle)
    if user:
        for directory in (scratch, bundle):
            os.chown(directory, NOBODY, NOBODY)
    subprocess.run([program, "spec"] + (["--rootless"] if user else []), cwd=bundle, check=True,
                   user=NOBODY if user else None, group=NOBODY if user else None)  # fmt: skip
    path = os.path.join(bundle, "config.json")
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    config["process"]["args"] = ["true"]
    config["process"]["terminal"] = False
    # This user's limits may be lower than those of the specification's example.
    config["process"].pop("rlimits", None)
    config["root"] = {"path": root, "readonly": False}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file)
    return bundle


def bubblewrap_options(root):
    return ["--unshare-all", "--bind", root, "/", "--proc", "/proc", "--dev", "/dev"]


def on_mount(scratch, root, mount):
    """A command that mounts the root under a new upper, runs bubblewrap in it, and takes it down. `mount`: for the shell; $1: options,
    $2: where."""
    home = tempfile.mkdtemp(prefix="mounted-", dir=scratch)
    for name in ("upper", "work", "root"):
        os.mkdir(os.path.join(home, name))
    options = f"lowerdir={root},upperdir={home}/upper,workdir={home}/work"
    script = f'{mount} || exit; where=$2; shift 2; bwrap "$@"; status=$?; umount "$where"; exit $status'
    point = os.path.join(home, "root")
    return ["sh", "-c", script, "on-mount", options, point, *bubblewrap_options(point), "true"]


def choose_cases(user, binaries, scratch, root, layers, runroot):
    """([(name, command)], {name: why it is left out}); commands are lists of words. `user`: for an ordinary user. `runroot`: for
    podman, a path of less than 50 characters."""
    varve = find_program("varve", binaries)
    store = os.path.join(scratch, "store")
    os.makedirs(store)
    run = [varve, "run", "--rm", "--store", store]
    stack = ["--layers", ":".join(layers), "true"]
    # An ordinary user to whom no control groups are delegated has none anyway.
    alone = [] if user else ["--cgroups", "disabled"]
    cases = [
        ("varve, namespaces and root", run + alone + [root, "true"]),
        ("varve, three layers", run + alone + stack),
        ("varve, three layers, read-only", run + alone + ["--read-only"] + stack),
    ]
    if not user:
        cases += [("varve, root and control groups", run + [root, "true"]),
                  ("varve, layers and control groups", run + stack)]  # fmt: skip
    left_out = {}

    def add(name, program, command):
        path = shutil.which(program)
        if path is None:
            left_out[name] = f"there is no {program}"
        else:
            cases.append((name, [path] + command(path)))

    add("bubblewrap", "bwrap", lambda _: [*bubblewrap_options(root), "true"])
    if not user and shutil.which("bwrap"):
        cases.append(("bubblewrap, overlayfs", on_mount(scratch, root, "mount -t overlay overlay -o \"$1\" \"$2\"")))
        if shutil.which("fuse-overlayfs"):
            cases.append(("bubblewrap, fuse-overlayfs", on_mount(scratch, root, "fuse-overlayfs -o \"$1\" \"$2\"")))
    unshare = ["--mount", "--pid", "--ipc", "--uts", "--net", "--cgroup", "--fork"] + (["--map-root-user"] if user else [])
    add("unshare and chroot", "unshare", lambda _: unshare + ["chroot", root, "/bin/true"])
    for program in ("crun", "runc"):
        if shutil.which(program):
            bundle = make_bundle(shutil.which(program), scratch, root, user)
            state = os.path.join(scratch, "state-" + program)
            add(program, program, lambda _, b=bundle, s=state, p=program: ["--root", s, "run", "--bundle", b, "bench-" + p])
        else:
            left_out[program] = f"there is no {program}"
    if not user:
        add("podman --rootfs", "podman", lambda _: [
            "--root", os.path.join(scratch, "podman"), "--runroot", runroot, "--runtime", "runc",
            "--cgroup-manager", "cgroupfs", "run", "--rm", "--network", "none", "--ulimit", "nofile=20000:20000", "--ulimit",
            "nproc=30000:30000", "--rootfs", root, "true"])  # fmt: skip
    return cases, left_out


ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp"}


def run_once(command, as_user):
    """Returns: milliseconds of wall clock and of processor time of what was waited for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=ENVIRONMENT,
                          cwd="/", user=NOBODY if as_user else None, group=NOBODY if as_user else None,
                          extra_groups=[] if as_user else None)  # fmt: skip
    wall = time.monotonic() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise RuntimeError(f"exit status {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}")
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return {"wall": wall * 1000, "cpu": cpu * 1000}


def unmount_below(directory):
    """What podman leaves mounted in its store."""
    for point in mount_points_below(directory):
        run("umount", point)
