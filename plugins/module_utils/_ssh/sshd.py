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

from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import patterns as _patterns
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import processes as _processes

CONFIG = pathlib.Path("/etc/ssh/sshd_config")
DROP_IN = pathlib.Path("/etc/ssh/sshd_config.d/00-docker-ssh.conf")
INCLUDE = f"Include {DROP_IN}  # Added by the Ansible collection bulkhead.docker.\n"

_INCLUDE_LINE = re.compile(r"^\s*Include(?:\s+|\s*=\s*)(?P<patterns>\S.*)$", re.IGNORECASE)
_MATCH_LINE = re.compile(r"^\s*Match(?:\s+|\s*=\s*)(?P<criteria>\S.*)$", re.IGNORECASE)
_LISTENER = re.compile(r"^sshd: (?P<command>\S.*?) \[listener\]")
_DEEPEST = 16  # as sshd counts nested Include lines
_SOCKETS = ("ssh.socket", "sshd.socket")
_ALWAYS_TOLD = ("maxstartups", "permituserenvironment", "port")
_LISTS = ("allowusers", "denyusers", "allowgroups", "denygroups")

Settings = t.Mapping[str, tuple[str, ...]]


class SshdError(Exception):
    """One sentence about an sshd that cannot be configured as wanted; nothing was changed."""


@dataclasses.dataclass(frozen=True)
class Peer:
    """What sshd is asked about beside the user: from where somebody comes, and where the connection ends."""

    address: str = "127.0.0.1"
    host: str = "localhost"
    local_address: str = "127.0.0.1"
    local_port: str = "22"
    routing_domain: str = ""


@dataclasses.dataclass(frozen=True)
class Connection:
    """How Ansible is connected, as sshd told the session: who, from where, to which port."""

    user: str
    identity: str  # SSH_CONNECTION: differs for every new connection
    address: str
    local_address: str
    local_port: str

    @property
    def peer(self) -> Peer:
        return Peer(self.address, self.address, self.local_address, self.local_port)


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


@dataclasses.dataclass(frozen=True)
class Server:
    """A listening sshd of this host, as it was started."""

    pid: int
    config: pathlib.Path
    options: tuple[str, ...]  # -o and -p, which win over what files say


def servers(proc: pathlib.Path = pathlib.Path("/proc")) -> list[Server]:
    """All of this host's; those of containers are none of its."""
    found = []
    for entry in _processes.of_this_host(proc):
        try:
            title = (entry / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has ended meanwhile
        match = _LISTENER.match(title)
        if match:
            found.append(_server(int(entry.name), match.group("command").split()[1:]))
    return sorted(found, key=lambda server: server.pid)


def _server(pid: int, words: t.Sequence[str]) -> Server:
    config, options, rest = CONFIG, [], iter(words)
    for word in rest:
        flag, value = word[:2], word[2:]
        if flag in ("-f", "-o", "-p"):
            value = value or next(rest, "")
            if flag == "-f":
                config = pathlib.Path(value)
            else:
                options += [flag, value]
    return Server(pid, config, tuple(options))


class Sshd:
    """The SSH server of this host."""

    def __init__(self) -> None:
        binary = program()
        if not binary or not CONFIG.exists():
            raise SshdError(
                "OpenSSH's server is not installed on this host (Debian: openssh-server); install it first."
            )
        self.binary = binary
        self.version = self._version()
        if self.version < (8, 2):
            raise SshdError(
                f"this host has OpenSSH {'.'.join(map(str, self.version))}, which has no Include for sshd_config; "
                "restricted accounts need OpenSSH 8.2 or later."
            )
        running = servers()
        self.others = [server for server in running if server.config != CONFIG]
        own = next((server for server in running if server.config == CONFIG), None)
        self.options = own.options if own else ()
        self.reload = _reload_command()
        self.per_connection = next((unit for unit in _SOCKETS if _starts_one_for_each(unit)), "")
        if self.reload and self.others and own is None:
            raise SshdError(
                f"sshd on this host reads {self.others[0].config} (-f, process {self.others[0].pid}) and not {CONFIG}; "
                "start it without -f, so that it can be configured."
            )

    def _version(self) -> tuple[int, int]:
        # Before 9.2 -V is an unknown option, but the complaint carries the version as well.
        done = _run(self.binary, "-V")
        match = re.search(r"OpenSSH_(\d+)\.(\d+)", done.stderr + done.stdout)
        if not match:
            raise SshdError(f"{self.binary} does not tell its version; only OpenSSH is supported.")
        return int(match.group(1)), int(match.group(2))

    def check(self, config: pathlib.Path = CONFIG) -> str:
        """What `sshd -t` complains about, '' if nothing."""
        done = _ask(self.binary, "-t", "-f", str(config))
        said = done.stderr.strip().splitlines()
        return (said[0] if said else f"code {done.returncode}") if done.returncode else ""

    def settings(self, config: pathlib.Path, user: str, peer: Peer, options: t.Sequence[str] | None = None) -> Settings:
        """What is in force for a user; keywords in small letters, since newer releases print them otherwise."""
        spec = f"user={user},host={peer.host},addr={peer.address},laddr={peer.local_address},lport={peer.local_port}"
        spec += f",rdomain={peer.routing_domain}" if peer.routing_domain else ""
        given = self.options if options is None else options
        done = _ask(self.binary, "-T", "-f", str(config), *given, "-C", spec)
        if done.returncode:
            said = done.stderr.strip().splitlines()
            raise SshdError(f"sshd refuses its configuration: {said[0] if said else 'no message'}")
        found: dict[str, tuple[str, ...]] = {}
        for line in done.stdout.splitlines():
            keyword, _, value = line.partition(" ")
            keyword = keyword.lower()
            found[keyword] = (*found.get(keyword, ()), value.strip())
        missing = [keyword for keyword in _ALWAYS_TOLD if keyword not in found]
        if missing:
            raise SshdError(f"'{self.binary} -T' does not tell {', '.join(missing)}; only OpenSSH is supported.")
        return found

    def port_and_host_keys(self, via: Connection | None) -> tuple[int, list[str]]:
        """Where it answers, and the public keys with which it shows who it is."""
        settings = self.settings(CONFIG, "root", via.peer if via else Peer())
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


def program() -> str:
    """Where sshd is, '' where there is none."""
    return shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin:/usr/bin") or ""


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def _ask(*command: str) -> subprocess.CompletedProcess[str]:
    """sshd wants a folder below /run even to be asked; systemd makes it only while an sshd runs that it has started."""
    done = _run(*command)
    missing = re.search(r"Missing privilege separation directory: (/run/\S+)", done.stderr)
    if missing:
        pathlib.Path(missing.group(1)).mkdir(mode=0o755, exist_ok=True)
        done = _run(*command)
    return done


def _reload_command() -> tuple[str, ...]:
    """How sshd is told to read its configuration; nothing where every connection has an sshd of its own."""
    for unit in ("ssh.service", "sshd.service"):
        if _run("systemctl", "is-active", "--quiet", unit).returncode == 0:
            return ("systemctl", "reload", unit)
    if socket_unit_is_active():
        return ()
    raise SshdError(
        "neither ssh.service nor sshd.service is active on this host, nor is a socket unit of theirs, so sshd cannot "
        "be told to reload; start it through systemd."
    )


def socket_unit_is_active() -> bool:
    return any(_run("systemctl", "is-active", "--quiet", unit).returncode == 0 for unit in _SOCKETS)


def _starts_one_for_each(unit: str) -> bool:
    said = _run("systemctl", "show", unit, "--property=ActiveState", "--property=Accept").stdout.split()
    return "ActiveState=active" in said and "Accept=yes" in said


# -- candidates -------------------------------------------------------------------------------------------------------


def includes_drop_in(text: str) -> bool:
    return any(DROP_IN in _paths(match) for match in map(_INCLUDE_LINE.match, text.splitlines()) if match)


def _included(match: re.Match[str]) -> list[str]:
    return [str(pathlib.Path("/etc/ssh", word)) for word in shlex.split(match.group("patterns"), comments=True)]


def _paths(match: re.Match[str]) -> list[pathlib.Path]:
    """The files of an Include line in sshd's order, our drop-in among them wherever it is or would be."""
    paths: list[pathlib.Path] = []
    for pattern in _included(match):
        found = set(glob.glob(pattern))  # noqa: PTH207  # as sshd does it: patterns are absolute
        if fnmatch.fnmatch(str(DROP_IN), pattern):
            found.add(str(DROP_IN))
        paths += [pathlib.Path(path) for path in sorted(found)]
    return paths


def staged(
    text: str, drop_in: pathlib.Path | None, replaced: t.Mapping[pathlib.Path, pathlib.Path] | None = None
) -> str:
    """sshd_config as it would be with the drop-in or other files read from elsewhere, or without the drop-in."""
    instead: dict[pathlib.Path, pathlib.Path | None] = {**(replaced or {}), DROP_IN: drop_in}
    lines = []
    for line in text.splitlines():
        match = _INCLUDE_LINE.match(line)
        if match:
            paths = [instead.get(path, path) for path in _paths(match)]
            line = "Include " + " ".join(str(path) for path in paths if path) if any(paths) else ""
        lines.append(line)
    return "\n".join(lines) + "\n"


@dataclasses.dataclass(frozen=True)
class Configurations:
    """Files that sshd can be asked about: as it would be without us, with us, and with nothing but us."""

    without: pathlib.Path
    wanted: pathlib.Path
    alone: pathlib.Path


def write_configurations(
    folder: str, main: str, drop_in: str, group: str = "", users: t.Sequence[str] = ()
) -> Configurations:
    """Write them below a folder of root's; ``main`` is sshd_config as it shall be.

    Accounts that do not exist yet are in no group; a Match that names their group names the users in these files.
    """
    base = pathlib.Path(folder)
    paths = Configurations(base / "without", base / "wanted", base / "alone")
    candidate = base / "drop-in"
    candidate.write_text(drop_in, encoding="utf-8")
    replaced: dict[pathlib.Path, pathlib.Path] = {}
    for number, (path, text) in enumerate(sources(main)[1:]):
        changed = with_users(text, group, users)
        if changed != text:
            replaced[path] = base / f"copy{number}"
            replaced[path].write_text(changed, encoding="utf-8", errors="surrogateescape")
    main = with_users(main, group, users)
    for target, own in ((paths.without, None), (paths.wanted, candidate)):
        target.write_text(staged(main, own, replaced), encoding="utf-8", errors="surrogateescape")
    paths.alone.write_text(drop_in, encoding="utf-8")
    return paths


def with_users(text: str, group: str, users: t.Sequence[str]) -> str:
    """The text with `Group PATTERNS` of each Match that means the group replaced by `User NAMES`."""
    lines = []
    for line in text.splitlines():
        criteria = match_criteria(line)
        if users and any(_means(criterion, group) for criterion in criteria):
            own = ("User", ",".join(users))
            words = [own if _means(criterion, group) else criterion for criterion in criteria]
            line = "Match " + " ".join(" ".join(filter(None, pair)) for pair in words)
        lines.append(line)
    return "\n".join(lines) + ("\n" if text.endswith("\n") else "")


def _means(criterion: tuple[str, str], group: str) -> bool:
    keyword, patterns = criterion
    return keyword.lower() == "group" and _patterns.matches(patterns.split(","), [group])


def match_criteria(line: str) -> list[tuple[str, str]]:
    """The criteria of a Match line with their patterns; none where it is another line."""
    match = _MATCH_LINE.match(line)
    if not match:
        return []
    try:
        words = shlex.split(match.group("criteria").replace("=", " "), comments=True)
    except ValueError:
        return []  # sshd will complain about it
    pairs, rest = [], iter(words)
    for word in rest:
        pairs.append((word, "" if word.lower() in ("all", "invalid-user") else next(rest, "")))
    return pairs


def peers(main: str, base: Peer, names: t.Collection[str] = ()) -> list[Peer]:
    """The base and, for every Match line that tells connections apart, one connection that it means.

    A line for which none is found is refused, unless it names users and none of these.
    """
    found = [base]
    for path, text in sources(main):
        for number, line in enumerate(text.splitlines(), 1):
            lists: dict[str, list[str]] = {}
            for keyword, patterns in match_criteria(line):
                lists.setdefault(keyword.lower(), []).append(patterns)
            changes = {
                field: _example(keyword, lists[keyword])
                for keyword, field in _PEER_CRITERIA.items()
                if keyword in lists
            }
            if None in changes.values() and _may_mean(lists.get("user", ()), names):
                raise SshdError(
                    f"{path}:{number} has a Match line for which no example of a connection was found, so that sshd "
                    "cannot be asked what it does with the accounts there; write its addresses as networks in CIDR "
                    "form and its names with fewer wildcards, or leave the accounts out of it."
                )
            given = {field: value for field, value in changes.items() if value}
            if given and len(given) == len(changes):  # else the line is never met
                found.append(dataclasses.replace(base, **given))
    return list(dict.fromkeys(found))


_PEER_CRITERIA = {
    "address": "address",
    "host": "host",
    "localaddress": "local_address",
    "localport": "local_port",
    "rdomain": "routing_domain",
}


def _may_mean(lists: t.Iterable[str], names: t.Collection[str]) -> bool:
    return not names or any(all(_patterns.matches(text.split(","), [name]) for text in lists) for name in names)


def _example(keyword: str, lists: t.Sequence[str]) -> str | None:
    """Something that all of the lists mean; '' where nothing can be, None where nothing was found."""
    find = _patterns.example_address if keyword.endswith("address") else _patterns.example_name
    return find(lists)


def sources(main: str) -> list[tuple[pathlib.Path, str]]:
    """sshd's files with their text, sshd_config first and in the order in which they are read, without our drop-in."""
    found = [(CONFIG, main)]
    _add_included(main, found, _DEEPEST)
    return found


def _add_included(text: str, found: list[tuple[pathlib.Path, str]], depth: int) -> None:
    for match in map(_INCLUDE_LINE.match, text.splitlines() if depth else ()):
        for path in _paths(match) if match else ():
            try:
                included = path.read_text(encoding="utf-8", errors="surrogateescape") if path != DROP_IN else ""
            except OSError:
                continue
            if included:
                found.append((path, included))
                _add_included(included, found, depth - 1)


def private_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="bulkhead-sshd-")


# -- who is let in ----------------------------------------------------------------------------------------------------


def refusing_list(settings: Settings, user: str, groups: t.Collection[str]) -> str:
    """The keyword that keeps a user out, '' if none does. Lists of users may name hosts, which are ignored."""
    users = {keyword: [item.partition("@")[0] for item in _items(settings, keyword)] for keyword in _LISTS[:2]}
    if _patterns.matches(users["denyusers"], [user]):
        return "DenyUsers"
    if users["allowusers"] and not _patterns.matches(users["allowusers"], [user]):
        return "AllowUsers"
    if _patterns.matches(_items(settings, "denygroups"), groups):
        return "DenyGroups"
    allowed = _items(settings, "allowgroups")
    return "AllowGroups" if allowed and not _patterns.matches(allowed, groups) else ""


def _items(settings: Settings, keyword: str) -> list[str]:
    return [item for value in settings.get(keyword, ()) for item in value.split()]


def earlier_in_match(keyword: str, user: str, group: str) -> str:
    """The first line, 'FILE:LINE', that sets it for the account before our drop-in does, where sshd -T does not tell.

    Criteria other than users and groups are taken to be met.
    """
    for path, text in sources(CONFIG.read_text(encoding="utf-8", errors="surrogateescape")):
        if path.parent != DROP_IN.parent or path.name > DROP_IN.name:
            continue
        concerned = False
        for number, line in enumerate(text.splitlines(), 1):
            criteria = match_criteria(line)
            if criteria:
                meant = {"user": user, "group": group}
                concerned = all(
                    _patterns.matches(patterns.split(","), [meant[name.lower()]])
                    for name, patterns in criteria
                    if name.lower() in meant
                )
            elif concerned and _sets(keyword, line):
                return f"{path}:{number}"
    return ""


def _sets(keyword: str, line: str) -> bool:
    return re.match(rf"\s*{re.escape(keyword)}[\s=]", line, re.IGNORECASE) is not None


def where(keyword: str) -> str:
    """The first line of the configuration that has the keyword, for a message: 'FILE:LINE'."""
    for path, text in sources(CONFIG.read_text(encoding="utf-8", errors="surrogateescape")):
        for number, line in enumerate(text.splitlines(), 1):
            if _sets(keyword, line):
                return f"{path}:{number}"
    return str(CONFIG)
