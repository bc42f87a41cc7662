"""sshd's configuration: where a drop-in would be read, and who is kept out."""

from __future__ import annotations

import pathlib
import types

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import sshd as _sshd


@pytest.fixture
def drop_in(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    for name in ("10-a.conf", "50-b.conf"):
        (tmp_path / name).touch()
    path = tmp_path / "00-docker-ssh.conf"
    monkeypatch.setattr(_sshd, "DROP_IN", path)
    return path


def test_a_candidate_reads_the_drop_in_where_sshd_will(drop_in: pathlib.Path) -> None:
    folder = drop_in.parent
    text = f"# Include {folder}/*.conf\nPort 22\ninclude = {folder}/*.conf # all\nMatch all\n"
    assert _sshd.includes_drop_in(text)
    expected = f"Include /new {folder}/10-a.conf {folder}/50-b.conf"
    assert _sshd.staged(text, pathlib.Path("/new")).splitlines()[1:] == ["Port 22", expected, "Match all"]
    assert _sshd.staged(text, None).splitlines()[2] == f"Include {folder}/10-a.conf {folder}/50-b.conf"


@pytest.mark.parametrize("pattern", ["{folder}/9*.conf", "{folder}/*.cfg", "sshd_config.d/*.conf"])
def test_a_line_that_reads_other_files_is_none_of_ours(drop_in: pathlib.Path, pattern: str) -> None:
    assert not _sshd.includes_drop_in(f"Include {pattern.format(folder=drop_in.parent)}\n")


def test_without_other_files_there_is_no_empty_include(drop_in: pathlib.Path) -> None:
    assert _sshd.staged(f"Include {drop_in}\nPort 22\n", None) == "\nPort 22\n"


@pytest.mark.parametrize(
    ("settings", "keyword"),
    [
        ({}, ""),
        ({"allowusers": ("ops", "alice@192.0.2.*")}, ""),
        ({"allowusers": ("ops", "bob")}, "AllowUsers"),
        ({"allowusers": ("a*",)}, ""),
        ({"allowusers": ("*", "!alice")}, "AllowUsers"),
        ({"denyusers": ("al?ce",)}, "DenyUsers"),
        ({"denyusers": ("alice",), "allowusers": ("alice",)}, "DenyUsers"),
        ({"allowgroups": ("staff docker-ssh",)}, ""),
        ({"allowgroups": ("staff",)}, "AllowGroups"),
        ({"denygroups": ("docker-*",)}, "DenyGroups"),
    ],
)
def test_lists_of_users_and_groups_are_read_as_sshd_reads_them(
    settings: dict[str, tuple[str, ...]], keyword: str
) -> None:
    assert _sshd.refusing_list(settings, "alice", ["docker-ssh"]) == keyword


@pytest.mark.parametrize(
    ("title", "server"),
    [
        ("sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups", (7, "/etc/ssh/sshd_config", ())),
        ("sshd: /usr/sbin/sshd -D -f /etc/ssh/x -p 2222 [listener] 0 of 10-100", (7, "/etc/ssh/x", ("-p", "2222"))),
        ("sshd: sshd -o LogLevel=DEBUG -f/x [listener] 0 of 10-100", (7, "/x", ("-o", "LogLevel=DEBUG"))),
        ("sshd: ops [priv]", None),
        ("/usr/sbin/sshd -i", None),
        ("sleep 1", None),
    ],
)
def test_servers_are_known_by_what_they_were_started_with(
    tmp_path: pathlib.Path, title: str, server: tuple[int, str, tuple[str, ...]] | None
) -> None:
    for name in ("self", "7"):
        (tmp_path / name / "ns").mkdir(parents=True)
        (tmp_path / name / "ns/pid").symlink_to("host")
        (tmp_path / name / "root").symlink_to("/")
    (tmp_path / "7/cmdline").write_bytes(title.encode() + b"\0\0")
    expected = [_sshd.Server(server[0], pathlib.Path(server[1]), server[2])] if server else []
    assert _sshd.servers(tmp_path) == expected


@pytest.mark.parametrize(
    ("line", "criteria"),
    [
        ("Match all", [("all", "")]),
        ("match User a,b Address 192.0.2.0/24 # x", [("User", "a,b"), ("Address", "192.0.2.0/24")]),
        ("  Match Group=staff", [("Group", "staff")]),
        ('Match User "a b"', [("User", "a b")]),
        ('Match User "a', []),
        ("Matches all", []),
        ("# Match all", []),
        ("Match invalid-user", [("invalid-user", "")]),
    ],
)
def test_lines_with_match_are_read_as_sshd_reads_them(line: str, criteria: list[tuple[str, str]]) -> None:
    assert _sshd.match_criteria(line) == criteria


def test_every_kind_of_connection_that_match_lines_tell_apart_is_asked_about(drop_in: pathlib.Path) -> None:
    (drop_in.parent / "10-a.conf").write_text(
        "Match Address 192.0.2.0/24,198.51.100.7\nMatch Host *.example.com LocalPort 2222\nMatch User x\n"
        "Match Address !10.0.0.0/8\nMatch RDomain red,blue\n"
        "Match Address 10.0.0.0/8,!10.0.0.0/24 Address *,!10.0.1.0/24\n",
        encoding="utf-8",
    )
    text = f"Include {drop_in.parent}/*.conf\nMatch LocalAddress 2001:db8::/64 User x\nMatch Address 10.1.*\n"
    base = _sshd.Peer("203.0.113.5", "h", "203.0.113.1", "22")
    assert _sshd.peers(text, base) == [
        base,
        _sshd.Peer("203.0.113.5", "h", "2001:db8::1", "22"),
        _sshd.Peer("10.1.1.1", "h", "203.0.113.1", "22"),
        _sshd.Peer("192.0.2.1", "h", "203.0.113.1", "22"),
        _sshd.Peer("203.0.113.5", "x.example.com", "203.0.113.1", "2222"),
        _sshd.Peer("203.0.113.5", "h", "203.0.113.1", "22", "red"),
        _sshd.Peer("10.128.0.1", "h", "203.0.113.1", "22"),
    ]


@pytest.mark.parametrize("criteria", ["Address nonsense/99", "Host *a*b*c*d*", "LocalAddress 2001:DB8:*"])
def test_a_match_line_without_an_example_is_refused_unless_it_is_for_other_users(
    drop_in: pathlib.Path, criteria: str
) -> None:
    text = f"Port 22\nMatch User docker-*,!docker-bob {criteria}\n  ForceCommand /bin/sh\n"
    with pytest.raises(_sshd.SshdError, match=r"sshd_config:2 has a Match line for which no example"):
        _sshd.peers(text, _sshd.Peer(), ["docker-bob", "docker-alice"])
    assert _sshd.peers(text, _sshd.Peer(), ["docker-bob"]) == [_sshd.Peer()]


def test_sshd_is_asked_about_a_routing_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def run(*command: str) -> types.SimpleNamespace:
        asked.append(command)
        told = "maxstartups 1\npermituserenvironment no\nport 22\n"
        return types.SimpleNamespace(returncode=0, stderr="", stdout=told)

    monkeypatch.setattr(_sshd, "_run", run)
    server = object.__new__(_sshd.Sshd)
    server.binary, server.options = "sshd", ()
    for domain, end in (("red", ",lport=22,rdomain=red"), ("", ",lport=22")):
        server.settings(pathlib.Path("x"), "root", _sshd.Peer(routing_domain=domain))
        assert asked[-1][-1].endswith(end)


def test_a_match_for_the_group_means_accounts_that_do_not_exist_yet() -> None:
    text = "Port 22\nMatch Group docker-*,staff User a*\n  PermitTTY yes\nMatch Group staff\n"
    assert _sshd.with_users(text, "docker-ssh", ["x", "y"]) == (
        "Port 22\nMatch User x,y User a*\n  PermitTTY yes\nMatch Group staff\n"
    )
    assert _sshd.with_users(text, "docker-ssh", []) == text


def test_a_folder_that_only_a_running_sshd_has_is_made_to_ask_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where systemd starts an sshd for each connection, there may be none at the moment."""
    made: list[pathlib.Path] = []

    def run(*command: str) -> types.SimpleNamespace:
        said = "" if made else "Missing privilege separation directory: /run/sshd\n"
        return types.SimpleNamespace(returncode=0 if made else 255, stderr=said, stdout="")

    monkeypatch.setattr(_sshd, "_run", run)
    monkeypatch.setattr(pathlib.Path, "mkdir", lambda path, **_: made.append(path))
    sshd = object.__new__(_sshd.Sshd)
    sshd.binary = "/usr/sbin/sshd"
    assert sshd.check() == ""
    assert made == [pathlib.Path("/run/sshd")]


def test_files_that_include_each_other_come_to_an_end(drop_in: pathlib.Path) -> None:
    text = f"Include {drop_in.parent}/*.conf\n"
    (drop_in.parent / "10-a.conf").write_text(text, encoding="utf-8")
    assert len(_sshd.sources(text)) < 100
