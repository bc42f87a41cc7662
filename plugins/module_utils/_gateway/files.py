# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of a gateway: HAProxy's configuration, what it reads, and the unit that runs it."""

from __future__ import annotations

import grp
import inspect
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files, _sandbox
from ansible_collections.bulkhead.docker.plugins.module_utils._files import Target
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import config as _config
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import places
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway.places import GatewayError
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway.settings import Settings
from ansible_collections.bulkhead.docker.plugins.module_utils._identities import layout
from ansible_collections.bulkhead.docker.plugins.module_utils._installed import gateway_sockets
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh.files import python
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import pem, x509
from cryptography import x509 as cx509
from cryptography.x509.oid import NameOID

_NOTICE = "# Written by the role docker_gateway of the Ansible collection bulkhead.docker, which overwrites changes.\n"
# What OpenSSL and cryptography write alike of a name.
_ATTRIBUTES = (
    *(NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.COUNTRY_NAME),
    *(NameOID.STATE_OR_PROVINCE_NAME, NameOID.LOCALITY_NAME, NameOID.DOMAIN_COMPONENT),
)
# The group of the Docker socket makes it root on the host all the same; the sandbox is for what it reads from clients.
# MemoryDenyWriteExecute is none of it: Debian's HAProxy compiles regular expressions to machine code or does not start.
_SANDBOX = f"""\
KeyringMode=private
LimitCORE=0
LimitNOFILE=65536
LockPersonality=yes
NoNewPrivileges=yes
{_sandbox.SETTINGS}SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
UMask=0077
"""


def targets(
    settings: Settings, listen: t.Sequence[str], port: int, ca: str, certificate: str, key: bytes, engine_socket: str
) -> list[Target]:
    """The files as they shall be."""
    text = configuration(settings, listen, port, ca, engine_socket).render()
    lists = revocation_lists(settings.revocation_lists, ca)
    return [
        Target(places.PLACES.ca, ca.encode(), 0o444, restart=False),
        Target(places.PLACES.revocation_lists, lists.encode() or None, 0o444, restart=False),
        Target(places.PLACES.server, certificate.encode() + key, 0o440, secret=True, restart=False, group=places.USER),
        Target(places.PLACES.haproxy, text.encode(), 0o644, restart=False),
        Target(places.UNIT, unit(_group_of(engine_socket), port).encode(), 0o644, restart=False),
        Target(places.PLACES.sockets_program, inspect.getsource(gateway_sockets).encode(), 0o644, restart=False),
        # The gateway reads from it which accounts have a socket.
        Target(places.PLACES.settings, settings.dump(listen, port), 0o640, restart=False, group=places.USER),
    ]


def configuration(
    settings: Settings, listen: t.Sequence[str], port: int, ca: str, engine_socket: str
) -> _config.Config:
    return _config.Config(
        binds=_config.binds(listen, port, socket.has_dualstack_ipv6()),
        socket=engine_socket,
        identities=tuple(_identities(settings, ca)),
        scopes=settings.scopes,
        checks_revocation=bool(settings.revocation_lists),
        max_connections=settings.max_connections,
        max_request_rate=settings.max_request_rate,
        accounts=settings.accounts,
        places=places.PLACES,
    )


def _identities(settings: Settings, ca: str) -> t.Iterator[_config.Identity]:
    """Each with the CAs that count for it. Of the others a certificate with its name is somebody else's."""
    of_groups = {group: _names(pem) for group, pem in (settings.groups or {layout.DEFAULT_GROUP: ca}).items()}
    known = [name for names in of_groups.values() for name in names]
    for name in known:
        if known.count(name) > 1:
            raise GatewayError(
                f"several access groups have a CA with the name {name}, so that the gateway cannot tell their clients "
                "apart; give each group a CA of its own."
            )
    for name, scope in (settings.identities or {}).items():
        issuers = [issuer for group in settings.groups_of(name) for issuer in of_groups[group]]
        if issuers:
            yield _config.Identity(name, scope, tuple(issuers))


def _names(ca: str) -> list[str]:
    return [*dict.fromkeys(_subject(entry) for entry in _trusted(ca))]


def _trusted(ca: str) -> list[x509.Entry]:
    entries = x509.load_bundle(ca)
    for entry in entries:
        if not x509.is_root(entry):
            raise GatewayError(
                f"the CA {entry.certificate.subject.rfc4514_string()} is signed by another one, and HAProxy trusts "
                "roots alone; leave docker_gateway_enabled off for this engine, or let a CA of its own sign clients."
            )
    return entries


def _subject(entry: x509.Entry) -> str:
    """The name of a CA as HAProxy writes it."""
    subject = entry.certificate.subject
    for attribute in subject:
        if attribute.oid not in _ATTRIBUTES or not re.fullmatch("[ -~]+", str(attribute.value)):
            raise GatewayError(
                f"the CA {subject.rfc4514_string()} has a name that the gateway cannot compare; it may have CN, O, OU, "
                "C, ST, L and DC in ASCII. Leave docker_gateway_enabled off for this engine, or use another CA."
            )
    return subject.rfc4514_string()


def revocation_lists(given: str, ca: str) -> str:
    """The first list of each CA: without its own, HAProxy would refuse all clients of that CA."""
    blocks = pem.revocation_lists(given)
    if not blocks:
        return ""
    lists = [cx509.load_pem_x509_crl(f"{block}\n".encode()) for block in blocks]
    kept = []
    for entry in x509.load_bundle(ca):
        public: t.Any = entry.certificate.public_key()
        own = [block for block, one in zip(blocks, lists) if one.is_signature_valid(public)]
        if not own:
            raise GatewayError(
                f"there is no revocation list of the CA {entry.certificate.subject.rfc4514_string()}, so that the "
                "gateway would refuse its clients; run the playbook bulkhead.docker.site, which makes it."
            )
        kept.append(own[0])
    return "".join(f"{block}\n" for block in kept)


def _group_of(engine_socket: str) -> str:
    """The group that may use the Docker socket."""
    try:
        found = grp.getgrgid(os.stat(engine_socket).st_gid)  # noqa: PTH116 - a path of any kind
    except (OSError, KeyError):
        return "docker"
    if found.gr_gid == 0:
        raise GatewayError(
            f"{engine_socket} belongs to the group root, and the gateway does not run as root; give the socket a group "
            "of its own, such as docker (SocketGroup= of docker.socket, or 'group' in daemon.json)."
        )
    return found.gr_name


def unit(group: str, port: int) -> str:
    capability = "CAP_NET_BIND_SERVICE" if port < 1024 else ""
    run = f"{places.program() or '/usr/sbin/haproxy'} -Ws -f {places.PLACES.haproxy} -S {places.PLACES.master},mode,600"
    check = f"{places.program() or '/usr/sbin/haproxy'} -c -q -f {places.PLACES.haproxy}"
    folders = f"{python()} -IS {places.PLACES.sockets_program} {places.PLACES.settings} {places.PLACES.run}"
    return (
        f"{_NOTICE}[Unit]\nDescription=Gateway to the Docker API, which says who may do what\n"
        "Wants=network-online.target\nAfter=network-online.target docker.socket\n"
        "StartLimitIntervalSec=0\n\n"
        f"[Service]\nType=notify\nExecStartPre={check}\nExecStartPre={folders}\nExecStart={run}\n"
        f"ExecReload={check}\nExecReload={folders}\nExecReload=/bin/kill -USR2 $MAINPID\n"
        "KillMode=mixed\nSuccessExitStatus=143\nRestart=always\nRestartSec=1\nOOMScoreAdjust=-500\n"
        f"User={places.USER}\nGroup={places.USER}\nSupplementaryGroups={group}\n"
        f"RuntimeDirectory={places.PLACES.run.name}\nRuntimeDirectoryMode=0755\n"
        f"AmbientCapabilities={capability}\nCapabilityBoundingSet={capability}\n{_SANDBOX}\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )


def validate(made: t.Iterable[Target]) -> None:
    """HAProxy's own check of what it would be started with, in another folder; nothing to check without a gateway."""
    files = {
        target.path: target.content for target in made if target.path.parent == places.PLACES.config and target.content
    }
    text = files.get(places.PLACES.haproxy)
    if not text or not places.program():
        return
    with tempfile.TemporaryDirectory(prefix="bulkhead-", dir="/run") as folder:
        elsewhere = text.replace(os.fsencode(places.PLACES.config), os.fsencode(folder))
        for path, content in {**files, places.PLACES.haproxy: elsewhere}.items():
            _files.write(pathlib.Path(folder, path.name), content, 0o400)
        done = subprocess.run(
            (places.program(), "-c", "-q", "-f", str(pathlib.Path(folder, places.PLACES.haproxy.name))),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            stdin=subprocess.DEVNULL,
        )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "ALERT" in line] or ["no message"]
        raise GatewayError(f"HAProxy refuses the configuration of the gateway: {said[0].strip()}; nothing was changed.")
