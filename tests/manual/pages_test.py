#!/usr/bin/env python3
"""The manual names all that the programs understand, and nothing else: commands and options as each program's own --help tells them,
mount options as the parser knows them.

Usage: pages_test.py PROSE_DIRECTORY    with VARVE_BIN, VARVE_SHARE and VARVE_MANUAL in the environment
       pages_test.py --planted          proves on small examples that each check finds what it is for
"""

import os
import re
import subprocess
import sys

OPTION = re.compile(r"(?<![\w-])--?[A-Za-z][\w-]*")
ITEM = re.compile(r"^\.It (.*)$", re.MULTILINE)
FLAG = re.compile(r"Fl (\\?-?\S+)")


def help_of(words):
    return subprocess.run(words + ["--help"], capture_output=True, text=True, check=True).stdout


def commands_in(text):
    """Names below "Subcommands:", or of varve's overview, "  varve NAME|NAME ...". """
    listed = re.search(r"^Subcommands:\n((?:  .*\n)+)", text, re.MULTILINE)
    if listed:
        return re.findall(r"^  (\S+)", listed.group(1), re.MULTILINE)
    names = re.findall(r"^  varve ([a-z|]+) ", text.split("Example")[0], re.MULTILINE)
    return [name for group in names for name in group.split("|")]


def options_in(text):
    """Names at the beginning of a line of a list of options: "  -f,--file FILE  what it is"; of varve's overview "  varve -h, --help"."""
    found = set(OPTION.findall(" ".join(re.findall(r"^  varve (-.*?)  ", text, re.MULTILINE))))
    for line in text.split("\n"):
        if re.match(r"  -", line) and not line.startswith("      "):
            found.update(OPTION.findall(line.split(" ")[2]))
    return found


def walk(program):
    """(page, options) of a program and all of its commands."""
    pending = [[program]]
    while pending:
        words = pending.pop(0)
        text = help_of([os.path.join(os.environ["VARVE_BIN"], words[0])] + words[1:])
        yield "-".join(words), options_in(text)
        if program != "varve" or len(words) == 1:
            pending += [words + [name] for name in commands_in(text)]


def section(page, name):
    found = re.search(rf"^\.Sh {name}\n(.*?)(?=^\.Sh |\Z)", page, re.MULTILINE | re.DOTALL)
    return found.group(1) if found else ""


def options_on(page):
    names = set()
    for item in ITEM.findall(section(page, "OPTIONS")):
        names.update("-" + name.replace("\\-", "-") for name in FLAG.findall(item))
    return names


def mount_options_on(page):
    names = set()
    for item in ITEM.findall(section(page, "MOUNT OPTIONS")):
        for part in item.split(" , "):  # "Cm fsync= Ns Cm strict | auto", "nodev"
            names.update(re.findall(r"^(?:Cm )?([a-z_]+)=?(?: Ns .*)?$", part))
    return names


def differences(what, wanted, found):
    for name in sorted(wanted - found):
        yield f"{what}: {name} is missing"
    for name in sorted(found - wanted):
        yield f"{what}: {name} stands there, and is nothing that is understood"


def broken_references(page_name, page, all_pages):
    for name in re.findall(r"^\.(?:It )?Xr (\S+) [18]", page, re.MULTILINE):
        if re.match(r"(imagetool|varve)", name) and name not in all_pages:
            yield f"{page_name}: refers to {name}(1), which is no page"


def check(prose_directory):
    share = os.environ["VARVE_SHARE"]
    directory = os.path.join(share, "man/man1")
    pages = {name[:-2]: open(os.path.join(directory, name), encoding="utf-8").read() for name in os.listdir(directory)}
    understood = [entry for program in ("imagetool", "varve", "varvefs") for entry in walk(program)]
    yield from differences("the pages", {page for page, _ in understood}, set(pages))
    for name, options in understood:
        page = pages.get(name, "")
        yield from differences(name + "(1)", options, options_on(page))
        yield from broken_references(name, page, pages)
        if not os.path.exists(os.path.join(prose_directory, name + ".mdoc")):
            yield f"{name}(1): docs/man/{name}.mdoc is missing (write what the command is for)"
    prose = {name[:-5] for name in os.listdir(prose_directory) if name.endswith(".mdoc")}
    for name in sorted(prose - set(pages) - {"imagetool-commands", "varve-commands"}):
        yield f"docs/man/{name}.mdoc: there is no such command"
    listed = subprocess.run([os.environ["VARVE_MANUAL"], "--list"], capture_output=True, text=True, check=True).stdout
    known = set(re.findall(r"^mount-option (.*)$", listed, re.MULTILINE))
    assert len(known) > 40, known
    yield from differences("varvefs(1), MOUNT OPTIONS", known, mount_options_on(pages["varvefs"]))
    for script in ("bash-completion/completions/{0}", "zsh/site-functions/_{0}", "fish/vendor_completions.d/{0}.fish"):
        for name, options in understood:
            path = script.format(name.split("-")[0])
            text = open(os.path.join(share, path), encoding="utf-8").read()
            words = set(re.findall(r"(?:--?|(?<= -l )|(?<= -s ))([A-Za-z][\w-]*)", text))
            for option in sorted(options):
                if option.lstrip("-") not in words:
                    yield f"{path}: {option} of {name} is missing"


def planted():
    help_text = "Options:\n  -f,--file FILE              What --not-this is\n  --long-one\n                              text\n"
    assert options_in(help_text) == {"-f", "--file", "--long-one"}, options_in(help_text)
    assert options_in("Usage:\n  varve run -x\n  varve -h, --help | --version    --more\n") == {"-h", "--help", "--version"}
    assert commands_in("Subcommands:\n  one   text\n  two   text\n\nExample:\n  p three\n") == ["one", "two"]
    assert commands_in("Usage:\n  varve run X\n  varve stop|kill C\n\nExample:\n  varve ps x\n") == ["run", "stop", "kill"]
    page = ".Sh OPTIONS\n.Bl\n.It Fl f , Fl \\-file Ar FILE\nx\n.El\n.Sh SEE ALSO\n.Xr imagetool-none 1\n.It Fl z\n"
    assert options_on(page) == {"-f", "--file"}, options_on(page)
    assert list(differences("p", {"a", "b"}, {"b", "c"})) == [
        "p: a is missing", "p: c stands there, and is nothing that is understood"]
    assert list(broken_references("p", page, {"imagetool": ""})) == ["p: refers to imagetool-none(1), which is no page"]
    mounts = ".Sh MOUNT OPTIONS\n.Bl\n.It Cm lowerdir= Ns Ar X\nt\n.It Cm ro , rw\n.It Cm fsync= Ns Cm a | b\n.El\n"
    assert mount_options_on(mounts) == {"lowerdir", "ro", "rw", "fsync"}, mount_options_on(mounts)
    return []


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    problems = planted() if sys.argv[1] == "--planted" else list(check(sys.argv[1]))
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problems", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
