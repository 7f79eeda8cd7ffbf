#!/usr/bin/env python3
"""What `imagetool pull` tells while it fetches: on terminals of several sizes, as plain lines, and where nobody looks.

Usage: pull_progress.py IMAGETOOL DIRECTORY     a line for each case; exit status 1 when one fails
"""

import fcntl
import gzip
import http.server
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time

import hostile_registry as registry

SECONDS = 30
LAYERS = 9
ESCAPE = re.compile(r"\x1b\[[0-9]*[AKJ]")


def layers():
    return [gzip.compress(registry.layer_tar(f"file{number}"), mtime=0) for number in range(LAYERS)]


def slowly(seconds):
    """A handler that gives a layer in ten pieces during that time."""

    def handle(handler, content):
        handler.head(200, [("Content-Length", str(len(content)))])
        for at in range(0, len(content), len(content) // 10 + 1):
            handler.wfile.write(content[at : at + len(content) // 10 + 1])
            time.sleep(seconds / 10)

    return handle


def serve(seconds):
    """The address of an image of LAYERS layers, each of which takes that long, and the digests of these."""
    image, blobs = registry.Image(), layers()
    image.config["rootfs"]["diff_ids"] = [registry.digest_of(gzip.decompress(blob)) for blob in blobs]
    described = [{"mediaType": registry.LAYER, "digest": registry.digest_of(blob), "size": len(blob)} for blob in blobs]
    image.manifest_fields = {"layers": described}
    image.finish()
    for blob in blobs:
        image.blobs[registry.digest_of(blob)] = (blob, slowly(seconds))

    class Handler(registry.Handler):
        pass

    Handler.image = image
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"127.0.0.1:{server.server_port}/app:1", [registry.digest_of(blob)[7:19] for blob in blobs]


def resize(terminal, columns, rows):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def on_terminal(command, columns, rows, disturb):
    """(exit status, what was written to the terminal); disturb(process, terminal, text so far) is called now and then."""
    terminal, other = pty.openpty()
    resize(terminal, columns, rows)
    before = termios.tcgetattr(other)
    process = subprocess.Popen(command, stdin=other, stdout=subprocess.DEVNULL, stderr=other, start_new_session=True)
    text, end = "", time.monotonic() + SECONDS
    while time.monotonic() < end:
        ended = process.poll() is not None
        if select.select([terminal], [], [], 0.05)[0]:
            text += os.read(terminal, 65536).decode()
        elif ended:
            break
        disturb(process, terminal, text)
    else:
        process.kill()
        process.wait()
        raise AssertionError(f"still running after {SECONDS} s: {text!r}")
    assert termios.tcgetattr(other) == before, "the terminal was left with other settings"
    os.close(terminal)
    os.close(other)
    return process.returncode, text


def lines_of(text):
    return ESCAPE.sub("", text).replace("\r", "").split("\n")


def check_lines(text, columns):
    for line in lines_of(text):
        assert len(line) < columns, f"a line of {len(line)} characters in a terminal of {columns}: {line!r}"


def undisturbed(_process, _terminal, _text):
    pass


def wide_terminal(command, digests):
    status, text = on_terminal(command, 100, 30, undisturbed)
    assert status == 0, f"{status}: {text!r}"
    check_lines(text, 100)
    for digest in digests:
        assert re.search(rf"^{digest}  done, [0-9.]+ k?B in ", "\n".join(lines_of(text)), re.M), f"{digest}: no line that it is done: {text!r}"
        assert f"  {digest}  " in text, f"{digest}: no line while it came"
    assert f"fetching: 0 of {LAYERS} layers, " in text, text
    # After the last line that stays all others are taken away.
    assert text.endswith("\x1b[J"), repr(text[-200:])
    assert "layers" not in text[text.rindex("\x1b[J", 0, -3) :], repr(text[-300:])


def narrow_terminal(command, digests):
    status, text = on_terminal(command, 17, 4, undisturbed)
    assert status == 0, f"{status}: {text!r}"
    check_lines(text, 17)
    for digest in digests:
        assert f"{digest}  do" in text, f"{digest}: no line that it is done: {text!r}"
    most = max(int(number) for number in re.findall(r"\x1b\[([0-9]+)A", text))
    assert most < 4, f"the cursor goes up {most} rows of 4"


def resized_terminal(command, _digests):
    marks = []

    def narrower(_process, terminal, text):
        if not marks and text.count("  done, ") >= 2:
            resize(terminal, 30, 10)
            marks.append(len(text))

    status, text = on_terminal(command, 100, 30, narrower)
    assert status == 0, f"{status}: {text!r}"
    assert marks, "it was over too soon"
    drawings = text[marks[0] :].split("\x1b[J")
    assert len(drawings) > 5, f"little came after it: {drawings}"
    check_lines("".join(drawings[2:]), 30)  # those before may have been under way


def interrupted(command, _digests):
    sent = []

    def interrupt(process, _terminal, text):
        if not sent and text.count("  done, ") >= 2:
            sent.append(signal.SIGINT)
            os.kill(process.pid, signal.SIGINT)

    status, text = on_terminal(command, 100, 30, interrupt)
    assert status == 1, f"{status}: {text!r}"
    last = text[text.rindex("\x1b[J") + 3 :].replace("\r", "")
    assert last == "imagetool: pulling an image: interrupted\n", repr(last)


def plain(command, digests):
    said = subprocess.run([*command[:1], "--progress=plain", *command[1:]], capture_output=True, text=True, timeout=SECONDS)
    assert said.returncode == 0, said.stderr
    assert "\x1b" not in said.stderr and "\r" not in said.stderr, repr(said.stderr)
    for digest in digests:
        told = [line for line in said.stderr.split("\n") if line.startswith(digest)]
        assert len(told) == 2 and told[0].startswith(f"{digest}  fetching ") and "  done, " in told[1], told


def unseen(command, _digests):
    said = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert said.returncode == 0 and said.stderr == "", said.stderr


CASES = [
    ("a wide terminal", wide_terminal, 0.3),
    ("a narrow terminal", narrow_terminal, 0.3),
    ("a terminal that becomes narrower", resized_terminal, 0.6),
    ("Ctrl-C", interrupted, 0.6),
    ("plain lines", plain, 0.02),
    ("no terminal", unseen, 0.02),
]


def main(imagetool, directory):
    faults = 0
    for number, (name, case, seconds) in enumerate(CASES):
        address, digests = serve(seconds)
        try:
            # A store of its own each time: no layer is there already.
            case([imagetool, "--store", os.path.join(directory, f"store{number}"), "pull", address], digests)
            print(f"{name}: good", flush=True)
        except AssertionError as fault:
            print(f"{name}: {fault}", flush=True)
            faults += 1
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
