#!/usr/bin/env python3
"""A registry that lies, and imagetool, which pulls from it.

Usage: hostile_registry.py IMAGETOOL DIRECTORY     a line for each lie; exit status 1 when one is believed, is refused without the words
that tell why or in more than a line, takes more than 20 s or 1 GiB of memory (resident), or leaves a blob behind

An honest image comes first, so that what is refused is refused for its lie. Containers and images at rest are tried in other tests; here is
what only a server can do, and what it says of its images.
"""

import gzip
import hashlib
import http.server
import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import threading

SECONDS = 20
MAX_RESIDENT_KIB = 1 << 20
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
FILLER = bytes(1 << 16)


def digest_of(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def layer_tar(name="greeting"):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo(name)
        info.size = 200000
        tar.addfile(info, io.BytesIO(hashlib.sha256(b"x").digest() * 6250))
    return archive.getvalue()


TAR = layer_tar()
BLOB = gzip.compress(TAR, mtime=0)
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)


class Image:
    """What is served for one repository. Cases change it; what it says of itself is worked out last."""

    def __init__(self):
        self.config = {"architecture": ARCHITECTURE, "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest_of(TAR)]}}
        self.layer = BLOB  # as it is described
        self.served_layer = None  # as it is given; None: the same
        self.layer_fields = {}  # in place of those of its descriptor
        self.config_fields = {}
        self.config_bytes = None
        self.manifest_fields = {}
        self.manifest_bytes = None
        self.manifest_type = MANIFEST
        self.by_digest = {}  # other manifests
        self.other_blobs = {}  # digest -> what is given for it
        self.wants_token = False
        self.layer_handler = self.config_handler = self.manifest_handler = None

    def finish(self):
        config = self.config_bytes if self.config_bytes is not None else json.dumps(self.config).encode()
        layer = {"mediaType": LAYER, "digest": digest_of(self.layer), "size": len(self.layer), **self.layer_fields}
        described = {"mediaType": CONFIG, "digest": digest_of(config), "size": len(config), **self.config_fields}
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": [layer], **self.manifest_fields}
        if self.manifest_bytes is None:
            self.manifest_bytes = json.dumps(manifest).encode()
        self.blobs = {digest: (content, None) for digest, content in self.other_blobs.items()} | {
            digest_of(config): (config, self.config_handler),
            digest_of(self.layer): (self.served_layer if self.served_layer is not None else self.layer, self.layer_handler),
        }


# --- how a server misbehaves: functions of (handler, content) ---


def endless(handler, _content):
    handler.head(200, [])
    while True:
        handler.wfile.write(FILLER)


def endless_with_length(handler, content):
    handler.head(200, [("Content-Length", str(1 << 50))])
    handler.wfile.write(content)
    while True:
        handler.wfile.write(FILLER)


def breaks_off(handler, content):
    handler.head(200, [("Content-Length", str(len(content)))])
    handler.wfile.write(content[: len(content) // 2])


def breaks_off_once(handler, content):
    """Half at first, the rest when it is asked for."""
    begin = int(handler.headers.get("Range", "bytes=0-")[6:-1])
    if begin == 0:
        return breaks_off(handler, content)
    handler.head(206, [("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}"), ("Content-Length", str(len(content) - begin))])
    return handler.wfile.write(content[begin:])


def redirects_to(place):
    return lambda handler, _content: handler.reply(307, b"", [("Location", place)])


def asks_forever(handler, _content):
    handler.reply(401, b"", [("WWW-Authenticate", 'Basic realm="x"')])


def floods_headers(handler, _content):
    handler.head(200, [(f"X-{number}", "h" * 8000) for number in range(100)] + [("Content-Length", "0")])


def refuses_rudely(handler, _content):
    handler.reply(404, json.dumps({"errors": [{"code": "\x1b[31m", "message": "a\nb\x1b]0;x\x07" * 1000}]}).encode(), [])


# --- the lies: name -> (what is changed, words of the message; None: it is no lie) ---

CASES = {}


def case(name, words):
    def add(change):
        CASES[name] = (change, words)
        return change

    return add


def setting(name, words, **fields):
    def change(image):
        for field, value in fields.items():
            setattr(image, field, value)

    CASES[name] = (change, words)


DIGEST = "sha256:" + "0" * 64
setting("honest", None)
setting("honest, but breaks off once", None, layer_handler=breaks_off_once)
setting("honest, to those with a token", None, wants_token=True)
setting("layer with other bytes", "digest", served_layer=BLOB[:-1] + bytes([BLOB[-1] ^ 1]))
setting("layer that is shorter", "has less than the", served_layer=BLOB[:-1])
setting("layer that is longer", "has more than the", served_layer=BLOB + b"x")
setting("empty layer", "has less than the", served_layer=b"")
setting("endless layer", "has more than the", layer_handler=endless)
setting("endless layer with a length", "has more than the", layer_handler=endless_with_length)
setting("endless configuration", "its configuration: has more than the", config_handler=endless)
setting("endless manifest", "more than 4194304 bytes", manifest_handler=endless)
setting("layer that always breaks off", "broken off", layer_handler=breaks_off)
setting("size of the layer is too small", "has more than the 10 bytes", layer_fields={"size": 10})
setting("size of the layer is too large", "has less than the", layer_fields={"size": len(BLOB) + 1})
setting("size of the layer is enormous", "has less than the 4611686018427387904 bytes", layer_fields={"size": 1 << 62})
setting("size of the layer is beyond 64 bits", "\"size\"", layer_fields={"size": 1 << 70})
setting("size of the layer is negative", "\"size\"", layer_fields={"size": -1})
setting("size of the layer is text", "\"size\"", layer_fields={"size": "10"})
setting("digest of the layer is a path", "\"digest\"", layer_fields={"digest": "sha256:../../../../etc/passwd"})
setting("digest of the layer is a path of 64", "\"digest\"", layer_fields={"digest": "sha256:" + "../" * 21 + "x"})
setting("digest of the layer is in capitals", "\"digest\"", layer_fields={"digest": digest_of(BLOB).upper()})
setting("digest of the configuration is a path", "config: field \"digest\"", config_fields={"digest": "../../config"})
setting("digest that nobody has", "404", layer_fields={"digest": DIGEST})
setting("layer of a kind nobody knows", "application/x-?[31m", layer_fields={"mediaType": "application/x-\x1b[31m"})
setting("configuration is no JSON", "not valid JSON", config_bytes=b"{")
setting("configuration is a list", "not a JSON object", config_bytes=b"[]")
setting("configuration of windows", "windows", config={"architecture": ARCHITECTURE, "os": "windows", "rootfs": {"type": "layers", "diff_ids": [digest_of(TAR)]}})
setting("diff_id of another tar", "diff_id", config={"architecture": ARCHITECTURE, "os": "linux", "rootfs": {"type": "layers", "diff_ids": [DIGEST]}})
setting("fewer diff_ids than layers", "diff_ids of 0 layers", config={"architecture": ARCHITECTURE, "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}})
setting("manifest is no JSON", "manifest: not valid JSON", manifest_bytes=b"{\"schemaVersion\": 2,")
setting("manifest is nothing", "manifest: not valid JSON", manifest_bytes=b"")
setting("manifest is a list", "manifest: not a JSON object", manifest_bytes=b"[]")
setting("manifest is deep", "nested too deeply", manifest_bytes=b'{"a":' * 100000 + b"1" + b"}" * 100000)
setting("manifest without layers", "\"layers\"", manifest_fields={"layers": None})
setting("manifest with text for layers", "\"layers\"", manifest_fields={"layers": "x"})
setting(
    "manifest of version 1",
    "schema 1",
    manifest_bytes=json.dumps({"schemaVersion": 1, "name": "app", "fsLayers": [{"blobSum": digest_of(BLOB)}]}).encode(),
    manifest_type="application/vnd.docker.distribution.manifest.v1+prettyjws",
)
setting("redirected to a file", "its scheme is neither", layer_handler=redirects_to("file:///etc/passwd"))
setting("redirected to plain http elsewhere", "plain http", layer_handler=redirects_to("http://192.0.2.1/"))
setting("redirected forever", "redirected", layer_handler=redirects_to("/v2/app/blobs/" + digest_of(BLOB)))
setting("asks for credentials again and again", "401", layer_handler=asks_forever)
setting("floods of headers", "header", layer_handler=floods_headers)
setting("rude words", "404", manifest_handler=refuses_rudely)


@case("layer that is cut off, of the right digest", "truncated gzip")
def cut_off(image):
    image.layer = BLOB[: len(BLOB) // 2]


def second_layer(image, descriptor):
    image.manifest_fields = {"layers": [{"mediaType": LAYER, "digest": digest_of(BLOB), "size": len(BLOB)}, descriptor]}
    image.config["rootfs"]["diff_ids"].append(DIGEST)


@case("second layer with other bytes", "layer 2: is not what its digest")
def second_wrong(image):
    second_layer(image, {"mediaType": LAYER, "digest": DIGEST, "size": len(BLOB)})
    image.other_blobs[DIGEST] = BLOB


@case("second layer that nobody has", "404")
def second_missing(image):
    second_layer(image, {"mediaType": LAYER, "digest": DIGEST, "size": len(BLOB)})


@case("second layer that is none of the image", "layer 2: unpacked")
def second_other(image):
    second_layer(image, {"mediaType": LAYER, "digest": digest_of(BLOB), "size": len(BLOB)})


@case("layer that is no archive", "layer 1")
def no_archive(image):
    image.layer = gzip.compress(b"\xff" * 100000, mtime=0)


@case("manifest of 10^5 layers", "more than 4194304 bytes")
def many_layers_and_bytes(image):
    image.manifest_fields = {"layers": [{"mediaType": LAYER, "digest": digest_of(BLOB), "size": len(BLOB)}] * 100000}


@case("manifest of as many layers as it can hold", "more than 1000")
def many_layers(image):
    image.manifest_fields = {"layers": [{"mediaType": LAYER, "digest": digest_of(BLOB), "size": len(BLOB)}] * 20000}
    image.config["rootfs"]["diff_ids"] = [digest_of(TAR)] * 20000


def index_of(digest, size, media_type):
    def entry(of, architecture):
        return {"mediaType": media_type, "digest": of, "size": size, "platform": {"os": "linux", "architecture": architecture}}

    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry("sha256:" + "1" * 64, "other"), entry(digest, ARCHITECTURE)]}


@case("honest index", None)
def honest_index(image):
    image.finish()
    inner = image.manifest_bytes
    image.by_digest[digest_of(inner)] = inner
    image.manifest_bytes = json.dumps(index_of(digest_of(inner), len(inner), MANIFEST)).encode()
    image.manifest_type = INDEX


@case("index that gives itself for its manifest", "digest")
def itself(image):
    image.manifest_bytes = json.dumps(index_of(DIGEST, 1000, MANIFEST)).encode().ljust(1000)
    image.manifest_type = INDEX
    image.by_digest[DIGEST] = image.manifest_bytes


@case("indices within indices", "leads to an index")
def nested(image):
    image.finish()
    inner, kind = image.manifest_bytes, MANIFEST
    for _ in range(50):
        image.by_digest[digest_of(inner)] = inner
        inner = json.dumps(index_of(digest_of(inner), len(inner), kind)).encode()
        kind = INDEX
    image.manifest_bytes = inner
    image.manifest_type = INDEX


@case("index with another manifest than it says", "digest")
def other_manifest(image):
    image.finish()
    image.by_digest[DIGEST] = image.manifest_bytes
    image.manifest_bytes = json.dumps(index_of(DIGEST, len(image.manifest_bytes), MANIFEST)).encode()
    image.manifest_type = INDEX


class Handler(http.server.BaseHTTPRequestHandler):
    image = None

    def log_message(self, *_):
        pass

    def head(self, status, headers):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    def reply(self, status, content, headers):
        self.head(status, [*headers, ("Content-Length", str(len(content)))])
        self.wfile.write(content)

    def handle(self):
        if self.rfile.peek(1)[:1] == b"\x16":  # TLS, which this does not speak
            self.wfile.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")
            return
        try:
            super().handle()
        except (ConnectionError, TimeoutError):
            pass  # it had enough

    def do_GET(self):
        image, kind, name = type(self).image, *self.path.split("/")[-2:]
        if self.path.startswith("/token?"):
            self.reply(200, b'{"token": "good"}', [])
        elif image.wants_token and self.headers.get("Authorization") != "Bearer good":
            realm = f"http://{self.headers['Host']}/token"
            self.reply(401, b"", [("WWW-Authenticate", f'Bearer realm="{realm}",service="test"')])
        elif self.path == "/v2/":
            self.reply(200, b"{}", [])
        elif kind == "manifests":
            content = image.by_digest.get(name, image.manifest_bytes)
            if image.manifest_handler:
                image.manifest_handler(self, content)
            else:
                media_type = MANIFEST if name in image.by_digest and b'"layers"' in content[:2000] else image.manifest_type
                self.reply(200, content, [("Content-Type", media_type)])
        elif name in image.blobs:
            content, handle = image.blobs[name]
            if handle:
                handle(self, content)
            else:
                self.reply(200, content, [])
        else:
            self.reply(404, b"{}", [])


def limit_memory():
    resource.setrlimit(resource.RLIMIT_AS, (4 * MAX_RESIDENT_KIB * 1024,) * 2)


def run(*command):
    """(exit status, standard error, most memory that was resident in KiB)"""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=limit_memory)
    try:
        said = process.communicate(timeout=SECONDS)[1].decode(errors="replace")
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return -1, f"still running after {SECONDS} s", 0
    return process.returncode, said, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def files_in(store):
    """Blobs, and what is in the making: path -> size."""
    found = {}
    for part in ("blobs", "tmp"):
        for directory, _, names in os.walk(os.path.join(store, part)):
            for name in names:
                path = os.path.join(directory, name)
                found[path] = os.path.getsize(path)
    return found


def fault(imagetool, store, source, words):
    """What was wrong, or nothing."""
    before = files_in(store)
    status, said, resident = run(imagetool, "--store", store, "pull", source, "pulled")
    if resident > MAX_RESIDENT_KIB:
        return f"{resident} KiB of memory"
    if words is None:
        return None if status == 0 and not said else f"exit status {status}, {said!r}"
    if status != 1 or words not in said or said.count("\n") != 1 or not said.startswith("imagetool: pulling an image: "):
        return f"exit status {status}, {said!r}, not 1 and one line with {words!r}"
    if any(not (" " <= character <= "~") for character in said[:-1]):
        return f"says {said!r}"
    left = {path for path in files_in(store).items() if path not in before.items()}
    return f"left behind: {left}" if left else None


def main(imagetool, directory):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    source = f"127.0.0.1:{server.server_port}/app:1"
    faults = 0
    for number, (name, (change, words)) in enumerate(CASES.items()):
        image = Image()
        change(image)
        image.finish()
        Handler.image = image
        # A store of its own each time: nothing of it is there already.
        found = fault(imagetool, os.path.join(directory, f"store{number}"), source, words)
        print(f"{name}: {found or ('believed' if words is None else 'refused')}", flush=True)
        faults += found is not None
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
