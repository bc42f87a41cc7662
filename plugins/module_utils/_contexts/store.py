# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The docker CLI's store of contexts, read and written as the CLI does it.

A client speaks plain HTTP to a tcp:// endpoint whose TLS files are missing. So these are written before ``meta.json``
and removed after it, and a context never has some of them only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import pathlib
import shutil
import time
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files as files
from ansible_collections.bulkhead.docker.plugins.module_utils import _locks
from ansible_collections.bulkhead.docker.plugins.module_utils._contexts.options import CA, CERT, KEY, StoreError

# In a context's Metadata, where the CLI keeps what it does not know. The name is in it because
# `docker context create --from` copies it, and the copy is not ours to remove.
MARKER = "bulkhead.docker"

_LOCK_TIMEOUT = 60.0


@dataclasses.dataclass(frozen=True)
class Found:
    """A context as it is. ``meta`` of None: there is none; ``tls`` holds each file with its mode."""

    meta: dict[str, t.Any] | None
    tls: dict[str, tuple[bytes, int]]
    open_folders: bool  # whether others may look into the folders of its TLS files

    @property
    def metadata(self) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", (self.meta or {}).get("Metadata") or {})

    @property
    def host(self) -> str:
        return str((((self.meta or {}).get("Endpoints") or {}).get("docker") or {}).get("Host") or "")

    def marker(self, name: str) -> dict[str, t.Any] | None:
        """What this collection wrote about it; None when somebody else made it, or a copy of it."""
        marker = self.metadata.get(MARKER)
        return marker if isinstance(marker, dict) and marker.get("name") == name else None


class Store:
    """The files below the CLI's folder."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.contexts = root / "contexts"
        # Lock, staged files and contexts on their way out. The CLI looks into `meta` and `tls` only.
        self.own = self.contexts / ".bulkhead"

    def meta_path(self, name: str) -> pathlib.Path:
        return self.contexts / "meta" / _identity(name)

    def tls_path(self, name: str) -> pathlib.Path:
        return self.contexts / "tls" / _identity(name)

    def find(self, name: str) -> Found:
        tls, folders = {}, (self.tls_path(name), self.tls_path(name) / "docker")
        for path in sorted(folders[1].iterdir()) if folders[1].is_dir() else []:
            tls[path.name] = files.read_regular(path)
        is_open = any(path.is_dir() and path.stat().st_mode & 0o077 for path in folders)
        return Found(_load_meta(self.meta_path(name) / "meta.json"), tls, is_open)

    def names(self) -> tuple[list[str], list[str]]:
        """All contexts, and a sentence about each that cannot be read."""
        found, damaged = [], []
        for path in sorted((self.contexts / "meta").glob("*/meta.json")):
            try:
                name = str((_load_meta(path) or {}).get("Name"))
            except StoreError as error:
                damaged.append(str(error))
            else:
                if path.parent == self.meta_path(name):
                    found.append(name)
        return found, damaged

    def leftovers(self) -> list[pathlib.Path]:
        """What a run that was killed left behind."""
        return sorted(path for path in self.own.glob("*") if path.name != "lock")

    def clean(self) -> None:
        for path in self.leftovers():
            if not path.is_dir():
                path.unlink()
                continue
            if not (self.contexts / "meta" / path.name).exists():
                _remove_tree(self.contexts / "tls" / path.name)
            _remove_tree(path)

    @contextlib.contextmanager
    def locked(self) -> t.Iterator[None]:
        end = time.monotonic() + _LOCK_TIMEOUT
        while True:
            if not self.root.exists():
                self.root.mkdir(mode=0o700, parents=True)
            self.contexts.mkdir(exist_ok=True)
            self.own.mkdir(mode=0o700, exist_ok=True)
            with (self.own / "lock").open("a") as lock:
                if not _locks.taken(lock.fileno()):
                    if time.monotonic() > end:
                        who = _locks.holder(lock.fileno())
                        raise StoreError(
                            f"{who} has held {self.own / 'lock'} for a minute; wait for its end, or end it"
                        )
                    time.sleep(0.05)
                    continue
                if _locks.is_still_at(self.own / "lock", lock.fileno(), follow_symlinks=True):
                    yield
                    return

    def remove_if_empty(self) -> None:
        """Leave no folder of ours where no context is left; the caller holds the lock, which goes with them."""
        if any((self.contexts / "meta").glob("*")):
            return
        _remove_tree(self.own)
        for path in (self.contexts / "meta", self.contexts / "tls", self.contexts):
            files.remove_if_empty(path)

    def write(self, name: str, meta: dict[str, t.Any], tls: t.Mapping[str, bytes]) -> None:
        meta_path, tls_path = self.meta_path(name), self.tls_path(name) / "docker"
        meta_path.mkdir(parents=True, exist_ok=True)
        files.write(self.own / "meta.json", json.dumps(meta, separators=(",", ":")).encode(), 0o644)
        for file, content in tls.items():
            files.write(self.own / file, content, 0o600)
        if tls:
            (self.contexts / "tls").mkdir(mode=0o700, exist_ok=True)
            for path in (tls_path.parent, tls_path):
                path.mkdir(mode=0o700, exist_ok=True)
                path.chmod(0o700)
            for file in tls:
                (self.own / file).replace(tls_path / file)
            for path in tls_path.iterdir():
                if path.name not in tls:
                    path.unlink()
            files.sync_folder(tls_path)
        (self.own / "meta.json").replace(meta_path / "meta.json")
        files.sync_folder(meta_path)
        if not tls:
            _remove_tree(tls_path)

    def remove(self, name: str) -> None:
        leaving = self.own / _identity(name)
        if self.meta_path(name).exists():
            self.meta_path(name).rename(leaving)
            files.sync_folder(self.meta_path(name).parent)
        _remove_tree(self.tls_path(name))
        _remove_tree(leaving)

    def describe(self, name: str, meta: dict[str, t.Any], has_tls: bool, current: bool) -> dict[str, t.Any]:
        """What community.docker.docker_context_info says about it."""
        endpoint = (meta.get("Endpoints") or {}).get("docker") or {}
        skip = bool(endpoint.get("SkipTLSVerify"))
        config: dict[str, t.Any] = {"docker_host": endpoint.get("Host"), "tls": has_tls or skip}
        if has_tls:
            folder = self.tls_path(name) / "docker"
            config |= {"ca_path": str(folder / CA), "client_cert": str(folder / CERT), "client_key": str(folder / KEY)}
            config["validate_certs"] = not skip
        return {
            "name": name,
            "current": current,
            "description": (meta.get("Metadata") or {}).get("Description"),
            "meta_path": str(self.meta_path(name)),
            "tls_path": str(self.tls_path(name)),
            "config": config,
        }


def _load_meta(path: pathlib.Path) -> dict[str, t.Any] | None:
    try:
        data = json.loads(files.read_regular(path)[0])
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StoreError(_damaged(path, f"is not JSON ({error})")) from error
    parts = [data, *(data.get(key) for key in ("Metadata", "Endpoints"))] if isinstance(data, dict) else [data]
    if not all(isinstance(part, dict) for part in parts if part is not None) or data is None:
        raise StoreError(_damaged(path, "does not describe a context"))
    return t.cast("dict[str, t.Any]", data)


def _damaged(path: pathlib.Path, what: str) -> str:
    return f"{path} {what}, so that docker cannot read this context either; remove it first, as with state=absent"


def _identity(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _remove_tree(path: pathlib.Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)
