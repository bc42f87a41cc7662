# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""sshd's configuration: what is in force for whom, what a candidate would change, and what stands against it."""

from __future__ import annotations

import dataclasses
import fnmatch
import glob
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import tempfile
import typing as t

CONFIG = pathlib.Path("/etc/ssh/sshd_config")
DROP_IN = pathlib.Path("/etc/ssh/sshd_config.d/00-docker-ssh.conf")
INCLUDE = f"Include {DROP_IN}  # Added by the Ansible collection bulkhead.docker.\n"

_INCLUDE_LINE = re.compile(r"^\s*Include(?:\s+|\s*=\s*)(?P<patterns>\S.*)$", re.IGNORECASE)
_LISTS = ("allowusers", "denyusers", "allowgroups", "denygroups")

Settings = t.Mapping[str, tuple[str, ...]]


class SshdError(Exception):
    """One sentence about an sshd that cannot be configured as wanted; nothing was changed."""


@dataclasses.dataclass(frozen=True)
class Connection:
    """How Ansible is connected, as sshd told the session: who, from where, to which port."""

    user: str
    identity: str  # SSH_CONNECTION: differs for every new connection
    address: str
    local_address: str
    local_port: str


def connection() -> Connection | None:
    """The SSH session that this process runs in, found through its parents, since sudo hides it; None without one."""
    found, pid = None, os.getpid()
    while pid > 1:
        process = pathlib.Path("/proc", str(pid))
        try:
            if (process / "comm").read_text().startswith("sshd"):
                break  # what is above may come from the session of whoever started sshd
            environment = (process / "environ").read_bytes().decode(errors="surrogateescape")
            variables = dict(entry.split("=", 1) for entry in environment.split("\0") if "=" in entry)
            words = variables.get("SSH_CONNECTION", "").split()
            if len(words) == 4 and "USER" in variables:
                found = Connection(variables["USER"], variables["SSH_CONNECTION"], words[0], words[2], words[3])
            pid = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            break
    return found


class Sshd:
    """The SSH server of this host."""

    def __init__(self) -> None:
        found = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin:/usr/bin")
        if not found or not CONFIG.exists():
            raise SshdError(
                "OpenSSH's server is not installed on this host (Debian: openssh-server); install it first."
            )
        self.binary = found
        self.version = self._version()
        if self.version < (8, 2):
            raise SshdError(
                f"this host has OpenSSH {'.'.join(map(str, self.version))}, which has no Include for sshd_config; "
                "restricted accounts need OpenSSH 8.2 or later."
            )

    def _version(self) -> tuple[int, int]:
        # Before 9.2 -V is an unknown option, but the complaint carries the version as well.
        done = subprocess.run(
            (self.binary, "-V"), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        match = re.search(r"OpenSSH_(\d+)\.(\d+)", done.stderr + done.stdout)
        if not match:
            raise SshdError(f"{self.binary} does not tell its version; only OpenSSH is supported.")
        return int(match.group(1)), int(match.group(2))

    @property
    def unit(self) -> str:
        """The systemd unit that runs it."""
        for name in ("ssh.service", "sshd.service"):
            done = subprocess.run(("systemctl", "is-active", "--quiet", name), check=False, stdin=subprocess.DEVNULL)
            if done.returncode == 0:
                return name
        raise SshdError(
            "neither ssh.service nor sshd.service is active on this host, so sshd cannot be told to reload."
        )

    def check(self, config: pathlib.Path = CONFIG) -> str:
        """What `sshd -t` complains about, '' if nothing."""
        done = subprocess.run(
            (self.binary, "-t", "-f", str(config)),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        said = done.stderr.strip().splitlines()
        return (said[0] if said else f"code {done.returncode}") if done.returncode else ""

    def settings(self, config: pathlib.Path, user: str, via: Connection | None) -> Settings:
        """What is in force for a user; keywords in small letters, since newer releases print them otherwise."""
        spec = f"user={user},host={via.address if via else 'localhost'},addr={via.address if via else '127.0.0.1'}"
        spec += f",laddr={via.local_address},lport={via.local_port}" if via else ",laddr=127.0.0.1,lport=22"
        command = (self.binary, "-T", "-f", str(config), "-C", spec)
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode:
            said = done.stderr.strip().splitlines()
            raise SshdError(f"sshd refuses its configuration: {said[0] if said else 'no message'}")
        found: dict[str, tuple[str, ...]] = {}
        for line in done.stdout.splitlines():
            keyword, _, value = line.partition(" ")
            keyword = keyword.lower()
            found[keyword] = (*found.get(keyword, ()), value.strip())
        return found

    def port_and_host_keys(self, via: Connection | None) -> tuple[int, list[str]]:
        """Where it answers, and the public keys with which it proves who it is."""
        settings = self.settings(CONFIG, "root", via)
        files = [pathlib.Path(f"{path}.pub") for path in settings.get("hostkey", ())]
        keys = [text.strip() for text in map(_content, files) if text]
        port = via.local_port if via else next(iter(settings.get("port", ())), "")
        if not port.isdecimal():
            raise SshdError(f"sshd -T on this host names {port!r} where a port belongs; correct sshd's configuration.")
        return int(port), keys


def _content(path: pathlib.Path) -> str:
    """'' where there is no such file, or no file can have that name."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return ""


# -- candidates -------------------------------------------------------------------------------------------------------


def includes_drop_in(text: str) -> bool:
    return any(DROP_IN in _paths(match) for match in map(_INCLUDE_LINE.match, text.splitlines()) if match)


def _patterns(match: re.Match[str]) -> list[str]:
    return [str(pathlib.Path("/etc/ssh", word)) for word in shlex.split(match.group("patterns"), comments=True)]


def _paths(match: re.Match[str]) -> list[pathlib.Path]:
    """The files of an Include line in sshd's order, our drop-in among them wherever it is or would be."""
    paths: list[pathlib.Path] = []
    for pattern in _patterns(match):
        found = set(glob.glob(pattern))  # noqa: PTH207  # as sshd does it: patterns are absolute
        if fnmatch.fnmatch(str(DROP_IN), pattern):
            found.add(str(DROP_IN))
        paths += [pathlib.Path(path) for path in sorted(found)]
    return paths


def staged(text: str, drop_in: pathlib.Path | None) -> str:
    """sshd_config as it would be with the drop-in read from another path, or with none."""
    lines = []
    for line in text.splitlines():
        match = _INCLUDE_LINE.match(line)
        if match:
            paths = [(drop_in if path == DROP_IN else path) for path in _paths(match)]
            line = "Include " + " ".join(str(path) for path in paths if path) if any(paths) else ""
        lines.append(line)
    return "\n".join(lines) + "\n"


@dataclasses.dataclass(frozen=True)
class Configurations:
    """Files that sshd can be asked about: as it would be without us, with us, and with nothing but us."""

    without: pathlib.Path
    wanted: pathlib.Path
    alone: pathlib.Path


def write_configurations(folder: str, main: str, drop_in: str) -> Configurations:
    """Write them below a folder of root's; ``main`` is sshd_config as it shall be."""
    base = pathlib.Path(folder)
    paths = Configurations(base / "without", base / "wanted", base / "alone")
    candidate = base / "drop-in"
    candidate.write_text(drop_in, encoding="utf-8")
    paths.without.write_text(staged(main, None), encoding="utf-8")
    paths.wanted.write_text(staged(main, candidate), encoding="utf-8")
    paths.alone.write_text(drop_in, encoding="utf-8")
    return paths


def private_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="bulkhead-sshd-")


# -- who is let in ----------------------------------------------------------------------------------------------------


def refusing_list(settings: Settings, user: str, groups: t.Collection[str]) -> str:
    """The keyword that keeps a user out, '' if none does. Lists of users may name hosts, which are not looked at."""
    users = {keyword: [item.partition("@")[0] for item in _items(settings, keyword)] for keyword in _LISTS[:2]}
    if _matches(users["denyusers"], [user]):
        return "DenyUsers"
    if users["allowusers"] and not _matches(users["allowusers"], [user]):
        return "AllowUsers"
    if _matches(_items(settings, "denygroups"), groups):
        return "DenyGroups"
    allowed = _items(settings, "allowgroups")
    return "AllowGroups" if allowed and not _matches(allowed, groups) else ""


def _items(settings: Settings, keyword: str) -> list[str]:
    return [item for value in settings.get(keyword, ()) for item in value.split()]


def _matches(patterns: t.Iterable[str], names: t.Collection[str]) -> bool:
    """sshd's matching: any pattern that fits, unless one with ! in front fits as well."""
    hit = False
    for pattern in patterns:
        negated, plain = pattern.startswith("!"), pattern.lstrip("!").replace("[", "[[]")
        if any(fnmatch.fnmatchcase(name, plain) for name in names):
            if negated:
                return False
            hit = True
    return hit


def where(keyword: str) -> str:
    """The first line of the configuration that has the keyword, for a message: 'FILE:LINE'."""
    files = [CONFIG]
    for match in map(_INCLUDE_LINE.match, CONFIG.read_text(errors="replace").splitlines()):
        files += [path for path in _paths(match) if path != DROP_IN] if match else []
    for path in files:
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for number, line in enumerate(lines, 1):
            if line.strip().lower().startswith((f"{keyword.lower()} ", f"{keyword.lower()}\t", f"{keyword.lower()}=")):
                return f"{path}:{number}"
    return str(CONFIG)
