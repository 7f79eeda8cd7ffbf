"""Row 13: real programs, in a root of their own where they are those of the image."""

import subprocess

from inputs import ENVIRONMENT, PYTHON_START
from peers import inside
from rows.row import AWAKE, Figure, Row, also_awake, cold_mount, listing, seconds_of, times

COMPILE = "cd /srv/sources && mkdir /srv/objects && ls | xargs -P 2 -I {} g++ -c {} -o /srv/objects/{}.o"
STARTS = (
    ("python", "start of python3 with imports", ("python3", "-c", PYTHON_START)),
    ("node", "start of node", ("node", "-e", "require('fs'); console.log(28)")),
    ("npm", "npm --version", ("npm", "--version")),
)
GIT = ("git", "--no-optional-locks", "-c", "safe.directory=*", "status", "--porcelain")


def run_inside(mount, *words):
    return seconds_of(*inside(mount.root, *words), env=ENVIRONMENT)


def said_inside(mount, *words):
    done = subprocess.run(inside(mount.root, *words), env=ENVIRONMENT, capture_output=True, check=True, stdin=subprocess.DEVNULL)
    return done.stdout


class Programs(Row):
    number = "13"
    title = "g++, dpkg -i, git status, starts of interpreters"
    peers = ("varvefs", AWAKE, "ovl", "ovl+sqfs", "ovl+erofs", "fo", "fo+sqf")

    def __init__(self, bench):
        super().__init__(bench)
        figures = [
            Figure("compile", f"g++ of {self.inputs.sources} sources", "s",
                   also_awake(times(1.03, "compile", "ovl", "<= 1.03x overlayfs"))),
            Figure("dpkg", "dpkg -i of a large package", "s", also_awake(times(1.5, "dpkg", "ovl", "<= 1.5x overlayfs"))),
            Figure("git_cold", "git status, cold", "s"),
            Figure("git", "git status, warm", "s"),
        ]
        for key, title, _ in STARTS:
            figures += [
                Figure(f"{key}_cold", f"{title}, cold", "s", also_awake(times(1, f"{key}_cold", "ovl+erofs", "<= overlayfs on erofs"))),
                Figure(key, f"{title}, warm", "s", also_awake(times(1.1, key, "ovl", "<= 1.1x overlayfs"))),
            ]
        self.figures = tuple(figures)

    def prepare(self):
        self.programs = self.inputs.programs()
        self.package = self.inputs.package()
        self.repository = self.inputs.repository()

    def warm_up(self, column):
        for stack in (self.programs, self.package, self.repository):
            column.images(stack)

    def starts(self, column):
        figures = {}
        said = b""
        for key, _, words in STARTS:
            with cold_mount(column, self.programs) as mount:
                figures[f"{key}_cold"] = run_inside(mount, *words)
                said += said_inside(mount, *words)
                figures[key] = run_inside(mount, *words)
        return figures, said

    def compile(self, column):
        """The compiler is in the caches already."""
        with cold_mount(column, self.programs) as mount:
            run_inside(mount, "g++", "-c", "/srv/sources/000.cc", "-o", "/tmp/first.o")
            seconds = run_inside(mount, "bash", "-c", COMPILE)
            return seconds, listing(mount.path("srv", "objects"))

    def install(self, column):
        with cold_mount(column, self.package) as mount:
            # dpkg and its database are in the caches already.
            run_inside(mount, "dpkg", "--info", "/srv/package.deb")
            run_inside(mount, "dpkg", "--audit")
            seconds = run_inside(mount, "dpkg", "--force-depends", "-i", "/srv/package.deb")
            return seconds, listing(mount.path("usr"))

    def git_status(self, column):
        with cold_mount(column, self.repository) as mount:
            where = mount.path("repository")
            cold = seconds_of(*GIT, cwd=where)
            said = subprocess.run(GIT, cwd=where, capture_output=True, check=True).stdout
            return cold, seconds_of(*GIT, cwd=where), said

    def measure(self, column, first):
        figures, started = self.starts(column)
        figures["compile"], compiled = self.compile(column)
        figures["dpkg"], installed = self.install(column)
        figures["git_cold"], figures["git"], status = self.git_status(column)
        return figures, f"{started} {compiled} {installed} {status[:200]}"


ROWS = (Programs,)
