"""The folders of the sockets that a gateway has for SSH accounts: who gets into them is asked of the kernel."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import socket
import types
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._installed import gateway_sockets

ACCOUNTS = {"docker-alice": 64991, "docker-bob": 64992}
GID = 64990

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become other users"),
    pytest.mark.filterwarnings("ignore:.*use of fork"),  # threads of other tests; the child does nothing but connect
]


@pytest.fixture
def run(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[pathlib.Path]:
    """The gateway's run folder on a host with these accounts, and one of the same name that somebody else made."""
    group = {**dict.fromkeys(ACCOUNTS, GID), "foreign": 1}
    numbers = {**ACCOUNTS, "foreign": 64993}

    def account(name: str) -> types.SimpleNamespace:
        return types.SimpleNamespace(pw_uid=numbers[name], pw_gid=group[name])

    monkeypatch.setattr(gateway_sockets.pwd, "getpwnam", account)
    monkeypatch.setattr(gateway_sockets.grp, "getgrnam", lambda name: types.SimpleNamespace(gr_gid=GID))
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o005 != 0o005 and folder != pathlib.Path("/"):
            folder.chmod(0o755)
    made = tmp_path / "run"
    made.mkdir(0o755)
    yield made


def _serve(run: pathlib.Path, tmp_path: pathlib.Path, *accounts: str) -> list[socket.socket]:
    """What the unit does: the folders, and then a socket in each, open to everybody as HAProxy makes it."""
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"accounts": [{"name": name} for name in accounts]}), encoding="utf-8")
    assert gateway_sockets.main(str(settings), str(run)) == 0
    found = []
    for name in accounts:
        path = gateway_sockets.folder(run, name) / "docker.sock"
        path.unlink(missing_ok=True)
        found.append(socket.socket(socket.AF_UNIX))
        found[-1].bind(str(path))
        found[-1].listen()
        path.chmod(0o666)
    return found


def _gets_in(run: pathlib.Path, name: str, uid: int) -> bool:
    """Whether a process of that user can connect there."""
    path = str(gateway_sockets.folder(run, name) / "docker.sock")
    child = os.fork()
    if not child:
        os.setgroups([])
        os.setgid(GID)
        os.setuid(uid)
        with socket.socket(socket.AF_UNIX) as client:
            os._exit({0: 0, errno.EACCES: 1}.get(client.connect_ex(path), 2))
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended in (0, 1)
    return ended == 0


def test_an_account_gets_to_its_own_socket_and_to_no_other(run: pathlib.Path, tmp_path: pathlib.Path) -> None:
    servers = _serve(run, tmp_path, *ACCOUNTS)
    reached = {(name, who) for name in ACCOUNTS for who, uid in ACCOUNTS.items() if _gets_in(run, name, uid)}
    assert reached == {(name, name) for name in ACCOUNTS}
    assert not _gets_in(run, "docker-alice", 64994)
    assert not gateway_sockets.differs(run, ACCOUNTS)
    for server in servers:
        server.close()


def test_an_account_that_is_gone_leaves_a_closed_folder(run: pathlib.Path, tmp_path: pathlib.Path) -> None:
    servers = _serve(run, tmp_path, *ACCOUNTS)
    servers += _serve(run, tmp_path, "docker-bob")
    assert not _gets_in(run, "docker-alice", ACCOUNTS["docker-alice"])
    assert _gets_in(run, "docker-bob", ACCOUNTS["docker-bob"])
    servers += _serve(run, tmp_path, *ACCOUNTS)
    assert _gets_in(run, "docker-alice", ACCOUNTS["docker-alice"])
    for server in servers:
        server.close()


def test_a_number_that_belongs_to_another_account_opens_nothing(
    run: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = _serve(run, tmp_path, "docker-alice")
    monkeypatch.setitem(ACCOUNTS, "docker-alice", 64995)
    numbers = types.SimpleNamespace(pw_uid=64995, pw_gid=GID)
    monkeypatch.setattr(gateway_sockets.pwd, "getpwnam", lambda name: numbers)
    assert gateway_sockets.differs(run, ["docker-alice"])
    gateway_sockets.set_access(run, ["docker-alice"])
    assert not gateway_sockets.differs(run, ["docker-alice"])
    assert not _gets_in(run, "docker-alice", 64991)
    assert _gets_in(run, "docker-alice", 64995)
    for server in servers:
        server.close()


def test_nobody_gets_in_who_has_the_name_and_is_not_the_role_s(run: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (server,) = _serve(run, tmp_path, "foreign")
    assert not _gets_in(run, "foreign", 64993)
    server.close()


def test_no_link_of_the_gateway_is_followed(run: pathlib.Path, tmp_path: pathlib.Path) -> None:
    target = tmp_path / "elsewhere"
    target.mkdir(0o700)
    gateway_sockets.folder(run, "docker-alice").symlink_to(target)
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        gateway_sockets.set_access(run, ["docker-alice"])
    assert target.stat().st_mode & 0o777 == 0o700


def test_a_host_without_a_gateway_has_nothing_to_open(tmp_path: pathlib.Path) -> None:
    assert not gateway_sockets.differs(tmp_path / "none", ["docker-alice"])
    gateway_sockets.set_access(tmp_path / "none", ["docker-alice"])
    assert list(tmp_path.iterdir()) == []
