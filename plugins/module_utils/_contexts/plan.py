# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A whole wanted state of the contexts, compared with the store and brought about in a safe order."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import re
import ssl
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._contexts import cli_config
from ansible_collections.bulkhead.docker.plugins.module_utils._contexts import env_files as files_of
from ansible_collections.bulkhead.docker.plugins.module_utils._contexts.options import (
    CA,
    CERT,
    KEY,
    Context,
    StoreError,
    Tls,
    check_name,
)
from ansible_collections.bulkhead.docker.plugins.module_utils._contexts.store import MARKER, Found, Store

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A state of the store. Contexts that are named nowhere stay as they are."""

    contexts: tuple[Context, ...] = ()
    absent: tuple[str, ...] = ()
    current: str = ""  # empty: whichever is current now
    set_name: str = ""  # new contexts are marked as members of this set
    purge: bool = False  # members of the set that are not among the contexts
    # Tells of host and certificate whether our contexts with them go.
    gone: t.Callable[[str, bytes], bool] | None = None
    # Whether tools that read no contexts get the files of `env_files`; None leaves those that are there.
    env_files: bool | None = None
    env_gone: t.Callable[[files_of.Mark], bool] | None = None


@dataclasses.dataclass(frozen=True)
class Result:
    changed: bool
    contexts: list[dict[str, t.Any]]
    current: str
    removed: list[str]
    diff: list[dict[str, str]]
    warnings: list[str]
    env_files: list[str]


@dataclasses.dataclass(frozen=True)
class _Change:
    """One step, with what a diff says about it."""

    header: str
    before: str
    after: str
    apply: t.Callable[[], None]


def folder(config_dir: str | None) -> pathlib.Path:
    """Where the CLI of this user keeps its files, unless an option says so."""
    configured = config_dir or os.environ.get("DOCKER_CONFIG")
    return pathlib.Path(configured) if configured else pathlib.Path("~/.docker").expanduser()


def run(wanted: Wanted, check: bool, store: Store) -> Result:
    """Bring the store into the wanted state, or say what that would change."""
    env = files_of.EnvFiles(pathlib.Path.home())
    changes, result = _plan(store, env, wanted)
    if not changes or check:
        return result
    with store.locked():
        changes, result = _plan(store, env, wanted)
        for change in changes:
            change.apply()
        if not wanted.contexts:
            store.remove_if_empty()
    return result


def _plan(store: Store, env: files_of.EnvFiles, wanted: Wanted) -> tuple[list[_Change], Result]:
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
    changes += [*_env_changes(env, wanted), *_env_removals(env, wanted, declared, gone)]

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
        env_files=[str(env.folder(name)) for name in declared] if wanted.env_files else [],
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
    if not wanted.purge and not wanted.gone:
        return list(wanted.absent), []
    names, damaged = store.names()
    gone = set(wanted.absent)
    for name in names:
        found = store.find(name)
        marker = found.marker(name)
        if marker is None or name in declared:
            continue
        is_member = wanted.purge and marker.get("set") == wanted.set_name
        certificate, _ = found.tls.get(CERT, (b"", 0))
        if is_member or (wanted.gone and wanted.gone(found.host, certificate)):
            gone.add(name)
    return sorted(gone), damaged


def _wanted_meta(context: Context, found: Found, set_name: str) -> dict[str, t.Any]:
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


def _write_change(store: Store, context: Context, found: Found, meta: dict[str, t.Any]) -> list[_Change]:
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
        found = Found({}, {}, False)
    if found.meta is None and not store.tls_path(name).exists():
        return []
    contents = {file: content for file, (content, _) in found.tls.items()}
    before = _text(found.meta, contents, contents.get(KEY), False) or "meta.json: (damaged)\n"
    return [_Change(f"context {name}", before, "", lambda: store.remove(name))]


def _env_changes(env: files_of.EnvFiles, wanted: Wanted) -> t.Iterator[_Change]:
    for context in wanted.contexts if wanted.env_files else ():
        env.check(context.name)
        files, found = files_of.contents(context, wanted.set_name), env.find(context.name)
        if files != found:
            yield _Change(
                str(env.folder(context.name)),
                _listed(found),
                _listed(files),
                lambda name=context.name, files=files: env.write(name, files),  # type: ignore[misc]
            )


def _env_removals(
    env: files_of.EnvFiles, wanted: Wanted, declared: t.Mapping[str, Context], gone: t.Collection[str]
) -> t.Iterator[_Change]:
    """Those of contexts that go, and those that nobody asks for any more. What others have written stays."""
    for name in env.names():
        mark = env.mark(name)
        if mark is None:
            continue
        is_member = wanted.env_files is not None and mark.set_name == wanted.set_name
        if name in declared:
            goes = is_member and not wanted.env_files
        else:
            goes = name in gone or (is_member and wanted.purge) or bool(wanted.env_gone and wanted.env_gone(mark))
        if goes:
            yield _Change(
                str(env.folder(name)),
                _listed(env.find(name)),
                "",
                lambda name=name: env.remove(name),  # type: ignore[misc]
            )


def _listed(files: t.Mapping[str, str]) -> str:
    return "".join(f"{name}: {line}\n" for name, text in sorted(files.items()) for line in text.splitlines())


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
