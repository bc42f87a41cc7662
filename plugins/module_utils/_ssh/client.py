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
from ansible_collections.bulkhead.docker.plugins.module_utils._identities import layout
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import users
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import names

_INCLUDE = "Include ~/.bulkhead/ssh/*.config\n"
_KEY_TYPES = {"ed25519": ("ed25519",), "ecdsa": ("ecdsa", "-b", "256"), "rsa": ("rsa", "-b", "3072")}
_SET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HOST_KEY = re.compile(r"(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)) AAAA[A-Za-z0-9+/]+={0,2}")
_KNOWN_AS = re.compile(r"(?:\[(.+)\]:([0-9]+)|(.+))")
# What a socket's path may have on every system, and what ssh appends to it while it makes one.
_SOCKET_PATH, _SOCKET_SUFFIX = 103, "." + "x" * 16
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
    """Where an engine's sshd answers, and its host keys."""

    name: str
    address: str
    port: int | None  # None: the one that an earlier run has written down, else 22
    host_keys: tuple[str, ...]

    @property
    def known_as(self) -> str:
        return self.address if self.port in (22, None) else f"[{self.address}]:{self.port}"


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What ssh of this user shall be prepared for."""

    identities: t.Sequence[Identity]
    engines: t.Sequence[Engine] | None  # None: only the keys are made
    set_name: str
    key_type: str = "ed25519"
    jump: str = ""  # as ProxyJump takes it
    require_host_keys: bool = True


@dataclasses.dataclass
class Result:
    """What was, or in check mode would be, done."""

    changed: bool = False
    keys: list[dict[str, str]] = dataclasses.field(default_factory=list)
    unknown: list[str] = dataclasses.field(default_factory=list)  # engines of which no host key is known
    diff: list[dict[str, str]] = dataclasses.field(default_factory=list)


def run(wanted: Wanted, check_mode: bool = False) -> Result:
    """Make the keys that are missing and, where engines are given, write what ssh reads about them.

    An engine without host keys keeps those that an earlier run has written down. Where there are none and
    ``require_host_keys`` is off, its settings are written, with which ssh refuses it.
    """
    _check(wanted)
    home = _home()
    folder = home / ".bulkhead/ssh"
    result = Result()
    for identity in wanted.identities:
        path = identity.private_key or folder / identity.name
        if identity.private_key is None and not path.exists():
            result.changed = True
            if not check_mode:
                _make_key(path, identity.name, wanted.key_type)
        public = _public_key(path, identity, check_mode)
        result.keys.append({"name": identity.name, "account": identity.account, "public_key": public})
    if wanted.engines is None:
        return result
    known_hosts_path, settings_path = folder / f"{wanted.set_name}.known_hosts", folder / f"{wanted.set_name}.config"
    engines = _with_known_keys(wanted.engines, (_files.content(known_hosts_path) or b"").decode("utf-8", "replace"))
    result.unknown = [engine.name for engine in engines if not engine.host_keys]
    if result.unknown and wanted.require_host_keys:
        raise ClientError(
            f"the SSH host keys of {', '.join(result.unknown)} are not known, and nobody is trusted at first sight; "
            "run the role docker_ssh for them in the same play, or set ssh_host_keys."
        )
    config = home / ".ssh/config"
    targets = [
        _files.Target(known_hosts_path, known_hosts(engines).encode(), 0o600),
        _files.Target(settings_path, settings(wanted, engines, folder).encode(), 0o600),
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


def remove(identities: t.Sequence[Identity], set_name: str, exclusive: bool = True, check_mode: bool = False) -> Result:
    """Take away the keys that were made here and the files of the set; the Include line goes with the last set.

    Where the identities are not the ``exclusive`` ones of the set, its files lose them alone, and go with the last.
    """
    _check_names(set_name, identities)
    home = pathlib.Path("~").expanduser()
    folder = home / ".bulkhead/ssh"
    own = [folder / identity.name for identity in identities if identity.private_key is None]
    settings_path = folder / f"{set_name}.config"
    left = _without(identities, _files.content(settings_path) or b"") if not exclusive else b""
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


def _check_names(set_name: str, identities: t.Iterable[Identity]) -> None:
    """Those of files. An identity that uses TLS alone may have a name with which nobody can log in."""
    if not _SET_NAME.fullmatch(set_name):
        raise ClientError(f"'{set_name}' cannot be the name of a set; use letters, digits and '.', '_', '-'.")
    for identity in identities:
        if not layout.is_name(identity.name):
            raise ClientError(f"{identity.name!r} cannot be the name of an identity and of its key.")


def _check(wanted: Wanted) -> None:
    """Refuse whatever could mean something else in a file that ssh reads."""
    _check_names(wanted.set_name, wanted.identities)
    for identity in wanted.identities:
        if not users.is_account(identity.account):
            raise ClientError(
                f"the identity {identity.name} would log in to engines as {identity.account!r}, which cannot be an "
                "account; set its ssh_account."
            )
        if identity.private_key and re.search(r'["\x00-\x1f\x7f]', str(identity.private_key)):
            raise ClientError(f"the path of the private key of {identity.name} has a quote or a control character.")
    for engine in wanted.engines or ():
        if not names.is_address(engine.address):
            raise ClientError(
                f"the engine {engine.name!r} has the address {engine.address!r}, which is neither an IP address nor a "
                "host name as RFC 1123 allows it; set its address."
            )
        if not engine.name.isprintable():
            raise ClientError(f"the engine name {engine.name!r} has a control character.")
        if engine.port is not None and not 0 < engine.port < 65536:
            raise ClientError(f"the engine {engine.name} has the SSH port {engine.port}, which is none.")
    for jump in wanted.jump.split(",") if wanted.jump else ():
        if not _is_jump(jump):
            raise ClientError(
                f"the jump host {jump!r} is no USER@HOST or USER@HOST:PORT (docker_client_ssh_jump); the user and the "
                "port can be left out."
            )


def _is_jump(text: str) -> bool:
    user, at, host = text.rpartition("@")
    found = re.fullmatch(r"(?:\[([^\]]+)\]|([^:]+))(?::([0-9]{1,5}))?", host)
    if not found or (user and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*", user)) or (at and not user):
        return False
    inside, bare, port = found.groups()
    # A name may be one of the user's own ssh configuration.
    is_host = names.is_ip(inside) if inside else bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", bare))
    return is_host and (port is None or 0 < int(port) < 65536)


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


def _make_key(path: pathlib.Path, name: str, key_type: str) -> None:
    _make_folder(path.parent)
    comment = f"{name}@{socket.gethostname()}"
    command = ("ssh-keygen", "-q", "-t", *_KEY_TYPES[key_type], "-N", "", "-C", comment, "-f", str(path))
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise ClientError(
            f"ssh-keygen made no key of the type {key_type}: {(done.stderr or done.stdout).strip()}. Where the host "
            "refuses this type, as with FIPS, set docker_client_ssh_key_type."
        )


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
    """The engines, with port and host keys from a file of known hosts where none are given."""
    keys: dict[str, tuple[str, ...]] = {}
    ports: dict[str, list[int]] = {}
    for words in (line.split(maxsplit=1) for line in known.splitlines()):
        match = _KNOWN_AS.fullmatch(words[0]) if len(words) == 2 else None
        if match:
            keys[words[0]] = (*keys.get(words[0], ()), words[1])
            ports.setdefault(match[1] or match[3], []).append(int(match[2] or 22))
    return [_completed(engine, keys, ports.get(engine.address, [])) for engine in engines]


def _completed(engine: Engine, keys: t.Mapping[str, tuple[str, ...]], ports: t.Sequence[int]) -> Engine:
    port = engine.port or (ports[0] if len(set(ports)) == 1 else 22)
    found = dataclasses.replace(engine, port=port)
    # A key comes from the engine itself; one that is none concerns nobody else.
    given = tuple(key for key in engine.host_keys if _HOST_KEY.fullmatch(" ".join(key.split()[:2])))
    return dataclasses.replace(found, host_keys=given or keys.get(found.known_as, ()))


def known_hosts(engines: t.Sequence[Engine]) -> str:
    lines = [f"{engine.known_as} {' '.join(key.split()[:2])}\n" for engine in engines for key in engine.host_keys]
    return "".join(dict.fromkeys(lines))


def settings(wanted: Wanted, engines: t.Sequence[Engine], folder: pathlib.Path) -> str:
    shared = _multiplexing(folder)
    blocks = []
    for engine in engines:
        for identity in wanted.identities:
            key = identity.private_key or folder / identity.name
            options = {
                "Port": str(engine.port),
                **({"ProxyJump": wanted.jump} if wanted.jump else {}),
                "IdentityFile": _quoted(key),
                "IdentitiesOnly": "yes",
                "PreferredAuthentications": "publickey",
                "UserKnownHostsFile": _quoted(folder / f"{wanted.set_name}.known_hosts"),
                "GlobalKnownHostsFile": "/dev/null",
                "StrictHostKeyChecking": "yes",
                "UpdateHostKeys": "no",
                "ForwardAgent": "no",
                "ForwardX11": "no",
                "ClearAllForwardings": "yes",
                **shared,
                "ServerAliveInterval": "30",
            }
            blocks.append(
                f"# {engine.name}, {identity.name}\nMatch originalhost {engine.address} user {identity.account}\n"
                + "".join(f"    {keyword} {value}\n" for keyword, value in options.items())
            )
    return "\n".join([_NOTICE, *blocks])


def _multiplexing(folder: pathlib.Path) -> dict[str, str]:
    """A Docker client opens a connection for each request; this makes one of them, with a session for each.

    Where no socket can be made, ssh would not connect at all.
    """
    path = folder / ("C" * 40 + _SOCKET_SUFFIX)
    if len(os.fsencode(path)) > _SOCKET_PATH or not _takes_sockets(path):
        return {"ControlMaster": "no", "ControlPath": "none"}
    return {
        "ControlMaster": "auto",
        "ControlPath": _quoted(folder / "%C", percent=False),
        "ControlPersist": "60",
    }


def _takes_sockets(path: pathlib.Path) -> bool:
    """Whether the file system has sockets, as far as the folder is there to try it."""
    if not path.parent.is_dir():
        return True
    try:
        with socket.socket(socket.AF_UNIX) as tried:
            tried.bind(str(path))
    except OSError:
        return False
    finally:
        path.unlink(missing_ok=True)
    return True


def _quoted(path: pathlib.Path, percent: bool = True) -> str:
    text = str(path).replace("%", "%%") if percent else str(path)
    return f'"{text}"'


def _make_folder(path: pathlib.Path) -> None:
    """A folder for its user alone, whatever the umask is, with those that lead to it."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o700)


def _write(target: _files.Target) -> None:
    _make_folder(target.path.parent)
    _files.write(target.new, target.content or b"", target.mode)
    target.new.replace(target.path)
    _files.sync_folder(target.path.parent)
