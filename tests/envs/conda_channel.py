"""A conda channel in a local folder. Its only package is a python: a link to the host's."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import sysconfig
import tarfile
from pathlib import Path

from envs.interpreters import host_interpreter

VERSION = ".".join(map(str, sys.version_info[:3]))
SUBDIR = {"linux-x86_64": "linux-64", "linux-aarch64": "linux-aarch64"}.get(sysconfig.get_platform(), "linux-64")


def write_channel(folder: Path) -> Path:
    """Write the channel. `pyvenv.cfg` in the package keeps the host's packages out of the env."""
    package = _package()
    name = f"python-{VERSION}-0.tar.bz2"
    entry = {**_index(), "md5": hashlib.md5(package).hexdigest(), "sha256": hashlib.sha256(package).hexdigest()}
    for subdir, packages in ((SUBDIR, {name: {**entry, "size": len(package)}}), ("noarch", {})):
        (folder / subdir).mkdir(parents=True)
        content = {"info": {"subdir": subdir}, "packages": packages, "packages.conda": {}, "repodata_version": 1}
        (folder / subdir / "repodata.json").write_text(json.dumps(content))
    (folder / SUBDIR / name).write_bytes(package)
    return folder


def _index() -> dict[str, object]:
    return {
        "name": "python",
        "version": VERSION,
        "build": "0",
        "build_number": 0,
        "depends": [],
        "subdir": SUBDIR,
        "arch": SUBDIR.partition("-")[2],
        "platform": "linux",
    }


def _package() -> bytes:
    python = host_interpreter()
    files = {
        "pyvenv.cfg": f"home = {Path(python).parent}\ninclude-system-site-packages = false\n".encode(),
        f"lib/python{VERSION.rpartition('.')[0]}/site-packages/.keep": b"",
    }
    paths = [{"_path": "bin/python", "path_type": "softlink", "sha256": _sha256(b""), "size_in_bytes": 0}]
    for name, data in files.items():
        entry = {"_path": name, "path_type": "hardlink", "sha256": _sha256(data), "size_in_bytes": len(data)}
        paths.append(entry)
    files["info/index.json"] = json.dumps(_index()).encode()
    files["info/paths.json"] = json.dumps({"paths": paths, "paths_version": 1}).encode()
    files["info/files"] = "\n".join(str(entry["_path"]) for entry in paths).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:bz2") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("bin/python")
        link.type, link.linkname = tarfile.SYMTYPE, python
        archive.addfile(link)
    return buffer.getvalue()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
