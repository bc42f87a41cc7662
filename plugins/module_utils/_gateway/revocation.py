# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Refusing identities at a gateway that is there, with nothing else in the way."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils import _files, _locks
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import service as _service
from ansible_collections.bulkhead.docker.plugins.module_utils._files import Target
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import files, places, service
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway.places import GatewayError, UnitError
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway.settings import Installed
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import pem, x509

_LOCK = pathlib.Path("/run/bulkhead.lock")  # of changes of the engine
_LOCK_TIMEOUT = 300

REFUSALS = (
    GatewayError,
    UnitError,
    _service.ServiceError,
    _locks.LockError,
    x509.CertificateError,
    OSError,
)


@dataclasses.dataclass
class Result:
    """What was, or in check mode would be, done."""

    changed: bool = False
    gateway: bool = False
    ended: int = 0
    diff: list[dict[str, str]] = dataclasses.field(default_factory=list)


def run(revoked: t.Collection[str], lists: str, check_mode: bool = False) -> Result:
    """Take identities out, and end their connections, also where an earlier run was killed before it did."""
    with contextlib.nullcontext() if check_mode else _locks.held(_LOCK, "this engine", _LOCK_TIMEOUT, lambda: True):
        installed = Installed.read()
        if installed is None:
            return Result()
        targets = _targets(installed, revoked, lists)
        changes = [target for target in targets if target.differs()]
        result = Result(bool(changes), True, 0, [_files.diff(target) for target in changes if not target.secret])
        if not check_mode:
            result.ended = _refuse(changes, revoked)
            result.changed = bool(changes or result.ended)
    return result


def _targets(installed: Installed, revoked: t.Collection[str], lists: str) -> list[Target]:
    last = installed.settings
    ca, server = _read(places.PLACES.ca).decode("ascii"), _read(places.PLACES.server).decode("ascii")
    wanted = dataclasses.replace(last.without(revoked), revocation_lists=_lists(lists, last.revocation_lists, ca))
    certificate = "".join(f"{block}\n" for block in pem.certificates(server))
    key, socket = pem.private_key(server).encode(), _service.service().socket_path
    made = files.targets(wanted, installed.listen, installed.port, ca, certificate, key, socket)
    files.validate(made)
    return [
        target
        for target in made
        if target.path in (places.PLACES.revocation_lists, places.PLACES.haproxy, places.PLACES.settings)
    ]


def _lists(given: str, last: str, ca: str) -> str:
    """For a CA that was replaced meanwhile there is no new list. It is the name that keeps an identity out, anyway.

    The last ones may be damaged.
    """
    for known in (f"{given}\n{last}", given):
        with contextlib.suppress(GatewayError, ValueError):
            return files.revocation_lists(known, ca)
    return last


def _read(path: pathlib.Path) -> bytes:
    content = _files.content(path)
    if content is None:
        raise GatewayError(f"{path} is missing; run the playbook bulkhead.docker.site, which writes it anew.")
    return content


def _refuse(changes: t.Sequence[Target], revoked: t.Collection[str]) -> int:
    """The record comes last: where the run was killed before the connections have ended, the next one sees it."""
    record = [target for target in changes if target.path == places.PLACES.settings]
    try:
        for target in changes:
            target.stage()
        if changes:
            _load([target for target in changes if target not in record])
        ended = service.cut(revoked) if service.runs() else 0
        for target in record:
            target.swap()
    finally:
        for target in changes:
            _files.sweep(target.path)
    return ended


def _load(changes: t.Sequence[Target]) -> None:
    """Have HAProxy run with these files, or with the previous ones."""
    existed = {target.path: target.path.exists() for target in changes}
    try:
        for target in changes:
            target.swap()
        service.start(unit_changed=False)
    except (UnitError, OSError) as error:
        for target in changes:
            _files.restore(target.path, existed[target.path], target.old)
        service.start(unit_changed=False)
        raise GatewayError(f"{error}. Its previous files are back, and whom they name still gets in.") from error
