# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real login to a restricted account, from the engine itself through its own sshd.

sshd and PAM have the last word on who gets in, and no file says all of it. A throw-away key opens the account for that
one login: from this host only, to the gate only, and for minutes; nobody else ever has it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import sshd as _sshd

_REQUEST = b"GET /_ping HTTP/1.0\r\n\r\n"
_SECONDS = 60
_KEY_TYPES = (("ssh-ed25519", "ed25519"), ("ecdsa-sha2-nistp256", "ecdsa"), ("rsa-sha2-512", "rsa"))
_LOG = ("journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=200")
_IDENTIFIERS = ("sshd", "sshd-session", "sshd-auth")
_TELLING = ("pam", "denied", "refused", "fatal", "error", "not allowed", "bad ownership", "invalid", "disallow", "fail")


@dataclasses.dataclass(frozen=True)
class Door:
    """Where this host's own sshd answers, and a type of key that it accepts."""

    address: str
    port: str
    key_type: str


def door(settings: _sshd.Settings, via: _sshd.Connection | None) -> Door:
    accepted = accepted_algorithms(settings)
    key_type = next((name for algorithm, name in _KEY_TYPES if not accepted or algorithm in accepted), "ed25519")
    if via:
        return Door(via.local_address, via.local_port, key_type)
    address, _, port = (settings.get("listenaddress") or ("0.0.0.0:22",))[0].rpartition(":")
    address = address.strip("[]")
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # where sshd listens on all addresses
    return Door(loopback.get(address, address), port, key_type)


def accepted_algorithms(settings: _sshd.Settings) -> list[str]:
    """Patterns of the algorithms with which a user's key may sign; 8.4 and before call it by another name."""
    for keyword in ("pubkeyacceptedalgorithms", "pubkeyacceptedkeytypes"):
        if keyword in settings:
            return settings[keyword][0].split(",")
    return []


def available() -> bool:
    return bool(shutil.which("ssh") and shutil.which("ssh-keygen"))


def failure(account: str, keys: pathlib.Path, options: str, at: Door) -> str:
    """Why nobody can log in to the account, in the rest of a sentence; '' where somebody can."""
    started = time.time()
    with tempfile.TemporaryDirectory(prefix="bulkhead-login-") as folder:
        key = pathlib.Path(folder, "key")
        made = subprocess.run(
            ("ssh-keygen", "-q", "-t", at.key_type, "-N", "", "-C", "throw-away", "-f", str(key)),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if made.returncode:
            return f"ssh-keygen made no key to try it with: {made.stderr.strip()}"
        public = key.with_name("key.pub").read_text(encoding="ascii")
        with _opened(keys / account, f"{_restrictions(options, at.address)} {public}"):
            done = _log_in(account, key, at)
    if done.stdout.startswith(b"HTTP/1.") or b"docker-ssh: " in done.stderr:  # the API, or the gate in its stead
        return ""
    said = done.stderr.decode(errors="replace").strip().splitlines()
    logged = _logged(account, started)
    return f"{said[-1].strip() if said else 'no answer'}{f' (its log says: {logged})' if logged else ''}"


def _restrictions(options: str, address: str) -> str:
    end = datetime.datetime.now() + datetime.timedelta(minutes=10)  # in the host's own time, as old releases want it
    sources = ",".join(dict.fromkeys(("127.0.0.1", "::1", address)))
    return f'{options},from="{sources}",expiry-time="{end.strftime("%Y%m%d%H%M%S")}"'


@contextlib.contextmanager
def _opened(path: pathlib.Path, line: str) -> t.Iterator[None]:
    """The account's file of keys with one line more."""
    before = _files.content(path)
    _write(path, (before or b"") + line.encode())
    try:
        yield
    finally:
        if before is None:
            path.unlink()
        else:
            _write(path, before)


def _write(path: pathlib.Path, content: bytes) -> None:
    new = _files.staged(path, "new")
    _files.write(new, content, 0o644)
    new.replace(path)


def _log_in(account: str, key: pathlib.Path, at: Door) -> subprocess.CompletedProcess[bytes]:
    options = {
        "BatchMode": "yes",
        "IdentityFile": str(key),
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "PreferredAuthentications": "publickey",
        "ConnectTimeout": str(_SECONDS),
        "ControlPath": "none",
        # It is this host, and what counts is whether it lets in.
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": "/dev/null",
        "GlobalKnownHostsFile": "/dev/null",
        "LogLevel": "ERROR",
    }
    command = ["ssh", "-F", "none", *(f"-o{name}={value}" for name, value in options.items())]
    command += ["-p", at.port, "-l", account, "--", at.address, "docker system dial-stdio"]
    environment = {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "HOME": "/root"}
    try:
        return subprocess.run(
            command, input=_REQUEST, capture_output=True, check=False, timeout=2 * _SECONDS, env=environment
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 255, b"", f"no end within {2 * _SECONDS} s".encode())


def _logged(account: str, started: float) -> str:
    """What sshd and PAM have logged of it, the line that tells most."""
    identifiers = [f"--identifier={name}" for name in _IDENTIFIERS]
    try:
        done = subprocess.run(
            (*_LOG, f"--since=@{int(started)}", *identifiers),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            errors="replace",
        )
    except OSError:
        return ""
    lines = [line.strip() for line in done.stdout.splitlines()]
    telling = [line for line in lines if any(word in line.lower() for word in _TELLING)]
    return next((line for line in telling if account in line), telling[0] if telling else "")
