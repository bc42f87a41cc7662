# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What `ssh` of one user needs to reach engines as their restricted accounts: a key, host keys, and settings.

The settings apply to these accounts on these engines only, and stand in files of their own below ~/.bulkhead/ssh, which
one Include line in the user's ~/.ssh/config reads.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import pwd
import re
import shutil
import socket
import subprocess
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files

_INCLUDE = "Include ~/.bulkhead/ssh/*.config\n"
_NOTICE = "# Written by the role docker_client of the Ansible collection bulkhead.docker, which overwrites changes.\n"


class ClientError(Exception):
    """One sentence about a user's ssh that cannot be prepared."""


@dataclasses.dataclass(frozen=True)
class Identity:
    """Somebody who logs in to engines from here."""

    name: str
    account: str
    private_key: pathlib.Path | None  # brought along; None: it is made here


@dataclasses.dataclass(frozen=True)
class Engine:
    """Where an engine's sshd answers, and how it proves who it is."""

    name: str
    address: str
    port: int
    host_keys: tuple[str, ...]

    @property
    def known_as(self) -> str:
        return self.address if self.port == 22 else f"[{self.address}]:{self.port}"


@dataclasses.dataclass
class Result:
    """What was, or in check mode would be, done."""

    changed: bool = False
    keys: list[dict[str, str]] = dataclasses.field(default_factory=list)
    unknown: list[str] = dataclasses.field(default_factory=list)  # engines of which no host key is known
    diff: list[dict[str, str]] = dataclasses.field(default_factory=list)


def run(
    identities: t.Sequence[Identity],
    engines: t.Sequence[Engine] | None,
    set_name: str,
    require_host_keys: bool = True,
    check_mode: bool = False,
) -> Result:
    """Make the keys that are missing and, where engines are given, write what ssh reads about them.

    An engine without host keys keeps those that an earlier run has written down. Where there are none and
    ``require_host_keys`` is off, its settings are written, with which ssh refuses it.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", set_name):
        raise ClientError(f"'{set_name}' cannot be the name of a set; use letters, digits and '.', '_', '-'.")
    home = _home()
    folder = home / ".bulkhead/ssh"
    result = Result()
    for identity in identities:
        path = identity.private_key or folder / identity.name
        if identity.private_key is None and not path.exists():
            result.changed = True
            if not check_mode:
                _make_key(path, identity.name)
        result.keys.append(
            {"name": identity.name, "account": identity.account, "public_key": _public_key(path, identity, check_mode)}
        )
    if engines is None:
        return result
    known_hosts_path = folder / f"{set_name}.known_hosts"
    engines = _with_known_keys(engines, (_files.content(known_hosts_path) or b"").decode())
    result.unknown = [engine.name for engine in engines if not engine.host_keys]
    if result.unknown and require_host_keys:
        raise ClientError(
            f"the SSH host keys of {', '.join(result.unknown)} are not known, and nobody is trusted at first sight; "
            "run the role docker_ssh for them in the same play, or set ssh_host_keys."
        )
    config = home / ".ssh/config"
    targets = [
        _files.Target(known_hosts_path, known_hosts(engines).encode(), 0o600),
        _files.Target(folder / f"{set_name}.config", settings(identities, engines, folder, set_name).encode(), 0o600),
    ]
    text = _files.content(config) or b""
    if _INCLUDE.encode() not in text.splitlines(keepends=True):
        # The user's own file, perhaps a link into a repository; what it says stays, and comes second.
        own = pathlib.Path(os.path.realpath(config))
        targets.append(_files.Target(own, _INCLUDE.encode() + text, _files.mode(own, 0o600)))
    changed = [target for target in targets if target.content_differs()]
    result.changed |= bool(changed)
    result.diff = [_files.diff(target) for target in changed]
    if not check_mode:
        for target in changed:
            _write(target)
    return result


def remove(
    identities: t.Sequence[Identity], set_name: str, keep_others: bool = False, check_mode: bool = False
) -> Result:
    """Take away the keys that were made here and the files of the set; the Include line goes with the last set.

    With ``keep_others`` the files of the set lose these identities, and go when nobody is left in them.
    """
    home = pathlib.Path("~").expanduser()
    folder = home / ".bulkhead/ssh"
    own = [folder / identity.name for identity in identities if identity.private_key is None]
    settings_path = folder / f"{set_name}.config"
    left = _without(identities, _files.content(settings_path) or b"") if keep_others else b""
    shared = () if left else (settings_path, folder / f"{set_name}.known_hosts")
    gone = [path for path in (*own, *(path.with_name(f"{path.name}.pub") for path in own), *shared) if path.exists()]
    targets = [_files.Target(path, None) for path in gone]
    if left:
        targets.append(_files.Target(settings_path, left, _files.mode(settings_path, 0o600)))
    config = home / ".ssh/config"
    lines = (_files.content(config) or b"").splitlines(keepends=True)
    if _INCLUDE.encode() in lines and not set(folder.glob("*.config")) - set(gone):
        lines.remove(_INCLUDE.encode())
        real = pathlib.Path(os.path.realpath(config))
        targets.append(_files.Target(real, b"".join(lines) or None, _files.mode(real, 0o600)))
    targets = [target for target in targets if target.content_differs()]
    # What is said of a removed file is its path; a private key's text is nobody's business.
    result = Result(changed=bool(targets), diff=[{"before": f"{target.path}\n", "after": ""} for target in targets])
    if not check_mode:
        for target in targets:
            if target.content is None:
                target.path.unlink()
                _files.remove_if_empty(target.path.parent)
            else:
                _write(target)
        if folder.is_dir() and not any(path for path in folder.iterdir() if not path.is_socket()):
            shutil.rmtree(folder)
    return result


def _without(identities: t.Sequence[Identity], text: bytes) -> bytes:
    """The settings of everybody else; nothing where these were the only ones."""
    notice, *blocks = text.decode().split("\n\n")
    if not blocks:  # somebody's own text
        return text
    blocks[-1] = blocks[-1].rstrip("\n")
    endings = tuple(f", {identity.name}" for identity in identities)
    kept = [block for block in blocks if not block.split("\n", 1)[0].endswith(endings)]
    return ("\n\n".join([notice, *kept]) + "\n").encode() if kept else b""


def _home() -> pathlib.Path:
    if not shutil.which("ssh") or not shutil.which("ssh-keygen"):
        raise ClientError("ssh is not installed on this host (Debian: openssh-client); install it first.")
    home, real = pathlib.Path("~").expanduser(), pathlib.Path(pwd.getpwuid(os.getuid()).pw_dir)
    if home.resolve() != real.resolve():
        raise ClientError(
            f"HOME is {home}, but ssh reads the settings of {real}, whatever HOME says; use the user's own home."
        )
    return home


def _make_key(path: pathlib.Path, name: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    comment = f"{name}@{socket.gethostname()}"
    command = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path))
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise ClientError(f"ssh-keygen made no key: {(done.stderr or done.stdout).strip()}")


def _public_key(path: pathlib.Path, identity: Identity, check_mode: bool) -> str:
    """The public half, '' for a key that check mode has not made."""
    beside = path.with_name(f"{path.name}.pub")
    if beside.exists():
        return beside.read_text(encoding="utf-8").strip()
    if not path.exists():
        if identity.private_key is None and check_mode:
            return ""
        raise ClientError(f"the SSH key {path} of the identity {identity.name} does not exist on this host.")
    command = ("ssh-keygen", "-y", "-P", "", "-f", str(path))
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise ClientError(
            f"the public half of {path} is not beside it as {beside.name} and cannot be had from it: "
            f"{done.stderr.strip() or 'no reason'}"
        )
    return done.stdout.strip()


def _with_known_keys(engines: t.Sequence[Engine], known: str) -> list[Engine]:
    """The engines, with host keys from a file of known hosts where none are given."""
    keys: dict[str, tuple[str, ...]] = {}
    for words in (line.split(maxsplit=1) for line in known.splitlines()):
        if len(words) == 2:
            keys[words[0]] = (*keys.get(words[0], ()), words[1])
    return [
        engine if engine.host_keys else dataclasses.replace(engine, host_keys=keys.get(engine.known_as, ()))
        for engine in engines
    ]


def known_hosts(engines: t.Sequence[Engine]) -> str:
    lines = [f"{engine.known_as} {' '.join(key.split()[:2])}\n" for engine in engines for key in engine.host_keys]
    return "".join(dict.fromkeys(lines))


def settings(identities: t.Sequence[Identity], engines: t.Sequence[Engine], folder: pathlib.Path, set_name: str) -> str:
    blocks = []
    for engine in engines:
        for identity in identities:
            key = identity.private_key or folder / identity.name
            options = {
                "Port": str(engine.port),
                "IdentityFile": _quoted(key),
                "IdentitiesOnly": "yes",
                "PreferredAuthentications": "publickey",
                "UserKnownHostsFile": _quoted(folder / f"{set_name}.known_hosts"),
                "GlobalKnownHostsFile": "/dev/null",
                "StrictHostKeyChecking": "yes",
                "UpdateHostKeys": "no",
                "ForwardAgent": "no",
                "ForwardX11": "no",
                "ClearAllForwardings": "yes",
                # A Docker client opens a connection for each request; this makes one of them, with a session for each.
                "ControlMaster": "auto",
                "ControlPath": _quoted(folder / "%C", percent=False),
                "ControlPersist": "60",
                "ServerAliveInterval": "30",
            }
            blocks.append(
                f"# {engine.name}, {identity.name}\nMatch originalhost {engine.address} user {identity.account}\n"
                + "".join(f"    {keyword} {value}\n" for keyword, value in options.items())
            )
    return "\n".join([_NOTICE, *blocks])


def _quoted(path: pathlib.Path, percent: bool = True) -> str:
    text = str(path).replace("%", "%%") if percent else str(path)
    return f'"{text}"'


def _write(target: _files.Target) -> None:
    target.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _files.write(target.new, target.content or b"", target.mode)
    target.new.replace(target.path)
    _files.sync_folder(target.path.parent)
