# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The docker CLI's store of contexts: a whole wanted state, compared with the store and written as the CLI writes it.

A client speaks plain HTTP to a tcp:// endpoint whose TLS files are missing. So these are written before ``meta.json``
and removed after it, and a context never has some of them only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import pathlib
import re
import shutil
import ssl
import time
import typing as t
import urllib.parse

from ansible_collections.bulkhead.docker.plugins.module_utils import _files as files
from ansible_collections.bulkhead.docker.plugins.module_utils._contexts import cli_config

CA, CERT, KEY = "ca.pem", "cert.pem", "key.pem"
# In a context's Metadata, where the CLI keeps what it does not know. The name is in it because
# `docker context create --from` copies it, and the copy is not ours to remove.
MARKER = "bulkhead.docker"

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.+-]+")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_LOCK_TIMEOUT = 60.0

Tls = t.Mapping[str, t.Optional[bytes]]


class StoreError(Exception):
    """One sentence about a context that cannot be written or a store that cannot be changed."""


@dataclasses.dataclass(frozen=True)
class Context:
    """A context as it shall be; ``tls`` is empty for endpoints without, and None stands for a file yet to come."""

    name: str
    host: str
    tls: Tls = dataclasses.field(default_factory=dict)
    skip_verify: bool = False
    description: str | None = None  # None keeps the one that is there


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A state of the store. Contexts that are named nowhere stay as they are."""

    contexts: tuple[Context, ...] = ()
    absent: tuple[str, ...] = ()
    current: str = ""  # empty: whichever is current now
    set_name: str = ""  # new contexts are marked as members of this set
    remove_gone: bool = False  # members of the set that are not among the contexts
    gone: t.Callable[[str, bytes], bool] | None = (
        None  # tells of host and certificate whether our contexts with them go
    )


@dataclasses.dataclass(frozen=True)
class Result:
    changed: bool
    contexts: list[dict[str, t.Any]]
    current: str
    removed: list[str]
    diff: list[dict[str, str]]
    warnings: list[str]


def check_name(name: str) -> None:
    if name == "default":
        raise StoreError("the context name 'default' is Docker's own; choose another one")
    if not _NAME.fullmatch(name):
        raise StoreError(
            f"the context name {name!r} is not allowed by Docker: at least two characters, the first one a letter or "
            "digit, the others letters, digits and _ . + -"
        )


def check_host(host: str) -> str:
    """The scheme of an endpoint that the CLI can use."""
    scheme, separator, rest = host.partition("://")
    if not separator or re.search(r"[\s\x00-\x1f\x7f]", host):
        raise StoreError(f"docker_host {host!r} is no URL; use unix:///PATH, ssh://USER@HOST or tcp://HOST:PORT")
    if scheme in ("http", "https"):
        raise StoreError(f"docker_host {host!r}: Docker contexts have no {scheme}:// endpoints; use tcp://{rest}")
    if scheme not in ("unix", "ssh", "tcp"):
        raise StoreError(f"docker_host {host!r} is none of unix://, ssh:// and tcp://")
    if scheme == "unix":
        if not rest.startswith("/"):
            raise StoreError(f"docker_host {host!r} needs an absolute path, as in unix:///run/docker.sock")
        return scheme
    try:
        url = urllib.parse.urlsplit(host)
        port = url.port
    except ValueError as error:
        raise StoreError(f"docker_host {host!r} is no URL ({error})") from error
    if not url.hostname or url.query or url.fragment:
        raise StoreError(f"docker_host {host!r} needs a host, and no query or fragment")
    if scheme == "tcp" and (url.username is not None or not port):
        raise StoreError(f"docker_host {host!r} needs a port and no user name, as in tcp://{url.hostname}:2376")
    if scheme == "ssh" and url.password is not None:
        raise StoreError("docker_host holds a password, which Docker refuses; use an SSH key")
    if scheme == "ssh" and (url.hostname.startswith("-") or (url.username or "").startswith("-")):
        raise StoreError(f"docker_host {host!r} would be read as an option of ssh")
    return scheme


def from_options(options: t.Mapping[str, t.Any], check: bool) -> tuple[Context, list[str]]:
    """A context from the options that both modules have, and the TLS files that check mode found missing."""
    name, host = options["name"], options["docker_host"] or ""
    check_name(name)
    try:
        scheme = check_host(host)
        given = {option: options[option] for option in ("ca_path", "client_cert", "client_key") if options[option]}
        if scheme != "tcp":
            if given:
                raise StoreError(f"docker_host {host!r} takes no TLS files; leave {', '.join(given)} out")
            return Context(name, host, description=options["description"]), []
        if len(given) < 3:
            raise StoreError(
                f"docker_host {host!r} needs ca_path, client_cert and client_key, because without all three clients "
                "would speak plain HTTP or trust every public CA"
            )
        tls, missing = read_tls(**given, check=check)
    except StoreError as error:
        raise StoreError(f"context {name!r}: {error}") from error
    return Context(name, host, tls, not options["validate_certs"], options["description"]), missing


def read_tls(ca_path: str, client_cert: str, client_key: str, check: bool) -> tuple[Tls, list[str]]:
    """The three files' contents, which fit together, and the paths that check mode found missing."""
    paths = {CA: pathlib.Path(ca_path), CERT: pathlib.Path(client_cert), KEY: pathlib.Path(client_key)}
    found = {name: _read(path, check) for name, path in paths.items()}
    missing = [str(path) for name, path in paths.items() if found[name] is None]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if found[CA] is not None:
        try:
            context.load_verify_locations(cafile=str(paths[CA]))
        except ssl.SSLError as error:
            raise StoreError(f"ca_path {ca_path} holds no certificate in PEM format ({error.reason})") from error
    if b"ENCRYPTED" in (found[KEY] or b""):
        raise StoreError(f"client_key {client_key} is encrypted, which Docker clients cannot use; decrypt it first")
    if found[CERT] is not None and found[KEY] is not None:
        try:
            context.load_cert_chain(client_cert, client_key, password="")
        except ssl.SSLError as error:
            if "MISMATCH" in (error.reason or ""):
                raise StoreError(
                    f"client_key {client_key} is not the key of the certificate client_cert {client_cert}"
                ) from error
            raise StoreError(
                f"client_cert {client_cert} and client_key {client_key} cannot be used ({error.reason})"
            ) from error
    if any(_read(path, check) != found[name] for name, path in paths.items()):
        raise StoreError(f"{ca_path}, {client_cert} or {client_key} is being replaced right now; run again")
    return found, missing


def _read(path: pathlib.Path, check: bool) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        if check:
            return None
        raise StoreError(f"{path} cannot be read: there is no such file") from error
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error


@dataclasses.dataclass(frozen=True)
class _Found:
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


@dataclasses.dataclass(frozen=True)
class _Change:
    """One step, with what a diff says about it."""

    header: str
    before: str
    after: str
    apply: t.Callable[[], None]


def folder() -> pathlib.Path:
    """Where the CLI of this user keeps its files."""
    configured = os.environ.get("DOCKER_CONFIG")
    return pathlib.Path(configured) if configured else pathlib.Path("~/.docker").expanduser()


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

    def find(self, name: str) -> _Found:
        tls, folders = {}, (self.tls_path(name), self.tls_path(name) / "docker")
        for path in sorted(folders[1].iterdir()) if folders[1].is_dir() else []:
            tls[path.name] = (path.read_bytes(), path.stat().st_mode & 0o7777)
        is_open = any(path.is_dir() and path.stat().st_mode & 0o077 for path in folders)
        return _Found(_load_meta(self.meta_path(name) / "meta.json"), tls, is_open)

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
        if not self.root.exists():
            self.root.mkdir(mode=0o700, parents=True)
        self.contexts.mkdir(exist_ok=True)
        self.own.mkdir(mode=0o700, exist_ok=True)
        with (self.own / "lock").open("a") as lock:
            end = time.monotonic() + _LOCK_TIMEOUT
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise StoreError(f"another run holds {self.own / 'lock'} for a minute; wait for it") from None
                    time.sleep(0.05)
            yield

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


def run(wanted: Wanted, check: bool, store: Store | None = None) -> Result:
    """Bring the store into the wanted state, or say what that would change."""
    store = store or Store(folder())
    changes, result = _plan(store, wanted)
    if not changes or check:
        return result
    with store.locked():
        changes, result = _plan(store, wanted)
        for change in changes:
            change.apply()
    return result


def _plan(store: Store, wanted: Wanted) -> tuple[list[_Change], Result]:
    config = cli_config.load(store.root / "config.json")
    declared = {context.name: context for context in wanted.contexts}
    if len(declared) < len(wanted.contexts):
        names = [context.name for context in wanted.contexts]
        twice = next(name for name in names if names.count(name) > 1)
        raise StoreError(f"the context {twice!r} is declared twice; each name needs one endpoint")
    changes = []
    if store.leftovers():
        left = "".join(f"{path.name}\n" for path in store.leftovers())
        changes.append(_Change(f"{store.own} (left behind by a run that was killed)", left, "", store.clean))

    metas: dict[str, tuple[dict[str, t.Any], bool]] = {}
    for context in wanted.contexts:
        found = store.find(context.name)
        meta = _wanted_meta(context, found, wanted.set_name)
        metas[context.name] = (meta, bool(context.tls))
        changes += _write_change(store, context, found, meta)

    gone, warnings = _gone(store, wanted, declared)
    for name in gone:
        changes += _remove_change(store, name)

    current = _current(store, wanted, gone, config)
    if wanted.current and current and current not in metas:
        meta = _require(store, current)
        metas[current] = (meta, all(file in store.find(current).tls for file in (CA, CERT, KEY)))
    if current != config.current or (wanted.contexts and config.text is None):
        before = "" if config.text is None else f"currentContext: {config.current or 'default'}\n"
        after, text = f"currentContext: {current or 'default'}\n", cli_config.with_current(config, current)
        changes.append(_Change(str(config.path), before, after, lambda: cli_config.save(config, text)))

    return changes, Result(
        changed=bool(changes),
        contexts=[store.describe(name, *metas[name], current=name == current) for name in metas],
        current=current or "default",
        removed=[name for name in gone if _exists(store, name)],
        diff=[
            {"before_header": c.header, "after_header": c.header, "before": c.before, "after": c.after} for c in changes
        ],
        warnings=warnings,
    )


def _current(store: Store, wanted: Wanted, gone: list[str], config: cli_config.Config) -> str:
    """The name for config.json, empty for the default context, which is also what follows one that is removed."""
    if wanted.current in gone:
        raise StoreError(f"the context {wanted.current!r} cannot be current, because it is to be removed")
    if wanted.current == "default":
        return ""
    if not wanted.current:
        return "" if config.current in gone else config.current
    if wanted.current not in {context.name for context in wanted.contexts}:
        check_name(wanted.current)
        _require(store, wanted.current)
    return wanted.current


def _require(store: Store, name: str) -> dict[str, t.Any]:
    meta = store.find(name).meta
    if meta is None:
        raise StoreError(f"the context {name!r} cannot be current, because it does not exist in {store.root}")
    return meta


def _exists(store: Store, name: str) -> bool:
    return (store.meta_path(name) / "meta.json").exists()


def _gone(store: Store, wanted: Wanted, declared: t.Mapping[str, Context]) -> tuple[list[str], list[str]]:
    if not wanted.remove_gone and not wanted.gone:
        return list(wanted.absent), []
    names, damaged = store.names()
    gone = set(wanted.absent)
    for name in names:
        found = store.find(name)
        marker = found.marker(name)
        if marker is None or name in declared:
            continue
        is_member = wanted.remove_gone and marker.get("set") == wanted.set_name
        certificate, _ = found.tls.get(CERT, (b"", 0))
        if is_member or (wanted.gone and wanted.gone(found.host, certificate)):
            gone.add(name)
    return sorted(gone), damaged


def _wanted_meta(context: Context, found: _Found, set_name: str) -> dict[str, t.Any]:
    """What ``docker context update`` would write: the endpoint anew, everything else kept."""
    metadata = dict(found.metadata)
    if context.description:
        metadata["Description"] = context.description
    elif context.description is not None:
        metadata.pop("Description", None)
    if set_name and (found.meta is None or found.marker(context.name) is not None):
        metadata[MARKER] = {"name": context.name, "set": set_name}
    endpoints = {
        **((found.meta or {}).get("Endpoints") or {}),
        "docker": {"Host": context.host, "SkipTLSVerify": context.skip_verify},
    }
    return {**(found.meta or {}), "Name": context.name, "Metadata": metadata, "Endpoints": endpoints}


def _write_change(store: Store, context: Context, found: _Found, meta: dict[str, t.Any]) -> list[_Change]:
    contents = {name: content for name, (content, _) in found.tls.items()}
    is_open = found.open_folders or any(mode & 0o077 for _, mode in found.tls.values())
    if found.meta == meta and contents == context.tls and not (context.tls and is_open):
        return []

    def apply() -> None:
        store.write(context.name, meta, {name: content for name, content in context.tls.items() if content is not None})

    before = _text(found.meta, contents, context.tls.get(KEY), is_open)
    after = _text(meta, context.tls, context.tls.get(KEY), False)
    return [_Change(f"context {context.name}", before, after, apply)]


def _remove_change(store: Store, name: str) -> list[_Change]:
    try:
        found = store.find(name)
    except StoreError:  # too damaged to show, not to remove
        found = _Found({}, {}, False)
    if found.meta is None and not store.tls_path(name).exists():
        return []
    contents = {file: content for file, (content, _) in found.tls.items()}
    before = _text(found.meta, contents, contents.get(KEY), False) or "meta.json: (damaged)\n"
    return [_Change(f"context {name}", before, "", lambda: store.remove(name))]


def _text(meta: dict[str, t.Any] | None, tls: Tls, key: bytes | None, is_open: bool) -> str:
    """A context for a diff: certificates by fingerprint, keys not at all."""
    lines = []
    endpoint = ((meta or {}).get("Endpoints") or {}).get("docker") or {}
    if endpoint:
        lines.append(f"docker_host: {endpoint.get('Host')}")
        if tls:
            lines.append(f"validate_certs: {str(not endpoint.get('SkipTLSVerify')).lower()}")
    metadata = (meta or {}).get("Metadata") or {}
    if metadata.get("Description"):
        lines.append(f"description: {metadata['Description']}")
    if isinstance(metadata.get(MARKER), dict):
        lines.append(f"set: {metadata[MARKER].get('set')}")
    for name, content in sorted(tls.items()):
        if content is None:
            shown = "(does not exist yet)"
        elif name in (CA, CERT):
            shown = ", ".join(_fingerprints(content)) or "(no certificate)"
        elif name == KEY:
            shown = "(private key, not shown)" if content == key else "(another private key, not shown)"
        else:
            shown = "(not one of Docker's files)"
        lines.append(f"{name}: {shown}")
    if tls and is_open:
        lines.append("TLS files can be read by others")
    return "".join(f"{line}\n" for line in lines)


def _fingerprints(pem: bytes) -> list[str]:
    found = []
    for block in _CERTIFICATE.findall(pem.decode("ascii", "replace")):
        with contextlib.suppress(ValueError):
            found.append(f"SHA-256 {hashlib.sha256(ssl.PEM_cert_to_DER_cert(block)).hexdigest()}")
    return found


def _load_meta(path: pathlib.Path) -> dict[str, t.Any] | None:
    try:
        data = json.loads(path.read_bytes())
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
