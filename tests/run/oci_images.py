#!/usr/bin/env python3
"""Images of others, made by hand, and what they show.

Usage: oci_images.py layout DIR NAME LAYER...    adds an image to the OCI layout DIR, made when it is not there; the layers from the
                                                 lowest on, tars or such a tar packed by gzip or zstd (.gz, .zst)
       oci_images.py index DIR NAME OS/ARCH=NAME...    joins images of the layout to one for several platforms
       oci_images.py apply DIR LAYER.tar         applies the layer to the tree DIR as image-spec layer.md words it: what it deletes
                                                 goes first, the rest is extracted by tar(1); directories that the layer does not
                                                 name keep their times
"""

import gzip
import hashlib
import json
import os
import posixpath
import shutil
import subprocess
import sys
import tarfile

NAME = "org.opencontainers.image.ref.name"


def put(layout, data, media_type):
    digest = hashlib.sha256(data).hexdigest()
    os.makedirs(layout + "/blobs/sha256", exist_ok=True)
    with open(f"{layout}/blobs/sha256/{digest}", "wb") as blob:
        blob.write(data)
    return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(data)}


def read_index(layout):
    if not os.path.exists(layout + "/index.json"):
        return {"schemaVersion": 2, "manifests": []}
    with open(layout + "/index.json", encoding="utf-8") as index:
        return json.load(index)


def add_entry(layout, entry, name):
    index = read_index(layout)
    index["manifests"].append(dict(entry, annotations={NAME: name}))
    with open(layout + "/index.json", "w", encoding="utf-8") as file:
        json.dump(index, file)
    with open(layout + "/oci-layout", "w", encoding="utf-8") as file:
        json.dump({"imageLayoutVersion": "1.0.0"}, file)


def unpacked(path):
    with open(path, "rb") as file:
        data = file.read()
    if path.endswith(".gz"):
        return data, gzip.decompress(data), "+gzip"
    if path.endswith(".zst"):
        return data, subprocess.run(["zstd", "-dcq", path], check=True, stdout=subprocess.PIPE).stdout, "+zstd"
    return data, data, ""


def make_image(layout, name, paths):
    layers, diff_ids = [], []
    for path in paths:
        data, tar, how = unpacked(path)
        layers.append(put(layout, data, "application/vnd.oci.image.layer.v1.tar" + how))
        diff_ids.append("sha256:" + hashlib.sha256(tar).hexdigest())
    # With white space and in an order that no program of ours would give it.
    config = {
        "os": "linux",
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine),
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created_by": "layer of " + posixpath.basename(path).split(".tar")[0]} for path in paths],
        "config": {"Cmd": ["/bin/sh"], "Env": ["WHO=others"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": put(layout, json.dumps(config, indent=1).encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": layers,
    }
    add_entry(layout, put(layout, json.dumps(manifest).encode(), manifest["mediaType"]), name)


def make_index(layout, name, parts):
    entries = {entry["annotations"][NAME]: entry for entry in read_index(layout)["manifests"]}
    manifests = []
    for part in parts:
        platform, part_name = part.split("=")
        system, architecture = platform.split("/")
        entry = {key: entries[part_name][key] for key in ("mediaType", "digest", "size")}
        manifests.append(dict(entry, platform={"os": system, "architecture": architecture}))
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests}
    add_entry(layout, put(layout, json.dumps(index).encode(), index["mediaType"]), name)


def remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def apply_layer(tree, layer):
    with tarfile.open(layer) as tar:
        members = {posixpath.normpath(member.name): member for member in tar}
    times = {}
    for directory, _, _ in os.walk(tree):
        times[directory] = os.stat(directory).st_mtime_ns
    for name in members:
        directory, base = posixpath.split(name)
        directory = os.path.join(tree, directory) if directory else tree
        if base == ".wh..wh..opq":
            for child in os.listdir(directory) if os.path.isdir(directory) else []:
                remove(os.path.join(directory, child))
        elif base.startswith(".wh."):
            remove(os.path.join(directory, base[4:]))
    for name, member in members.items():
        path = os.path.join(tree, name)
        if os.path.lexists(path) and (os.path.isdir(path) and not os.path.islink(path)) != member.isdir():
            remove(path)
    subprocess.run(
        ["tar", "--extract", "--file", layer, "--directory", tree, "--same-owner", "--same-permissions", "--numeric-owner",
         "--xattrs", "--xattrs-include=*", "--acls", "--exclude=.wh.*"], check=True)
    for directory, time in times.items():
        if os.path.isdir(directory) and posixpath.normpath(os.path.relpath(directory, tree)) not in members:
            os.utime(directory, ns=(time, time))


def main(arguments):
    verbs = {"layout": lambda rest: make_image(rest[0], rest[1], rest[2:]),
             "index": lambda rest: make_index(rest[0], rest[1], rest[2:]),
             "apply": lambda rest: apply_layer(rest[0], rest[1])}
    if len(arguments) < 3 or arguments[0] not in verbs:
        sys.exit(__doc__)
    verbs[arguments[0]](arguments[1:])


main(sys.argv[1:])
