"""An engine brought to one state, and what is left of it when that fails or is killed."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils import _locks
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import places as _places
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import settings as _settings
from ansible_collections.bulkhead.docker.plugins.module_utils._installed import sshd_restore
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import access as _access
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import accounts as _accounts
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import commit as _commit
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import files as _ssh_files
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import plan as _plan
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import sockets as _sockets
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import sshd as _sshd
from helpers.ssh_engine import ADMINS, ED25519, GID, OTHER, Engine, Killed, desired, give, keep, user


def drop_in() -> str:
    return _sshd.DROP_IN.read_text(encoding="utf-8")


def leftovers(engine: Engine) -> list[str]:
    """What only an open change needs."""
    state = engine.root / "state/sshd"
    open_change = (sshd_restore.BOOT_LINK, sshd_restore.BOOT_UNIT)
    return [
        str(path)
        for path in engine.root.rglob("*")
        if ".bulkhead-" in path.name or path.is_relative_to(state) or path in open_change
    ]


def test_a_first_run_gives_access_and_a_second_one_changes_nothing(engine: Engine) -> None:
    result = give()

    assert (result.changed, result.users, result.logins) == (True, ["docker-alice"], ["docker-alice"])
    assert engine.users["docker-alice"].pw_shell == str(_accounts.GATE)
    assert (_ssh_files.KEYS / "docker-alice").read_text(encoding="utf-8").endswith(f"{ED25519}\n")
    assert engine.admitted == {ADMINS}
    assert engine.loaded == drop_in()
    assert "ForceCommand" in engine.loaded
    assert not engine.timers
    assert leftovers(engine) == []

    again = give()
    assert (again.changed, again.diff, again.logins, again.confirm_within) == (False, [], [], 0)


def test_check_mode_changes_nothing_and_foresees_it(engine: Engine) -> None:
    before = engine.files()
    result = _access.run(desired(), check_mode=True, over_ssh=True)
    assert result.changed
    assert "docker-alice" in str(result.diff)
    assert engine.files() == before


def test_a_diff_shows_nothing_of_sshd_config_but_our_line(engine: Engine) -> None:
    """As an sshd_config without an Include line for our folder has it."""
    text = "Port 22\nSetEnv TOKEN=planted-secret\n"
    _sshd.CONFIG.write_text(text, encoding="utf-8")
    result = give()
    assert _sshd.CONFIG.read_text(encoding="utf-8") == _sshd.INCLUDE + text
    (own,) = [each for each in result.diff if each["after_header"].startswith(f"{_sshd.CONFIG} ")]
    assert (own["before"], own["after"]) == ("", _sshd.INCLUDE)
    changed = give(max_sessions=7)
    assert [(each["before"], each["after"]) for each in changed.diff] == [
        ("    MaxSessions 500\n", "    MaxSessions 7\n")
    ]
    cleared = _access.clear(over_ssh=True)
    assert "planted-secret" not in str((result.diff, changed.diff, cleared.diff))


def test_what_nobody_confirms_is_undone_by_the_timer(engine: Engine) -> None:
    give()
    before = engine.loaded
    result = _access.run(desired(max_sessions=7), over_ssh=True)
    assert result.confirm_within == 30
    assert engine.timers == {"bulkhead-sshd-confirm": 30}
    assert "MaxSessions 7" in engine.loaded

    engine.fire_timer()

    assert engine.loaded == before
    assert drop_in() == before
    assert leftovers(engine) == []
    assert "the engine had put the previous one back already" in _commit.confirm(None)


def test_what_nobody_confirms_is_undone_by_a_reboot(engine: Engine) -> None:
    give()
    before = engine.loaded
    _access.run(desired(max_sessions=7), over_ssh=True)
    engine.reboot()
    assert engine.loaded == before
    assert leftovers(engine) == []


def test_the_connection_that_made_the_change_cannot_confirm_it(engine: Engine) -> None:
    _access.run(desired(), over_ssh=True)
    assert "no new connection was made" in _commit.confirm(engine.connection)
    assert sshd_restore.JOURNAL.exists()


def test_without_a_connection_over_ssh_there_is_nothing_to_confirm(engine: Engine) -> None:
    """B08: the engine is the control node, and whoever runs the playbook is logged in there over SSH."""
    result = _access.run(desired(), over_ssh=False)
    assert (result.changed, result.confirm_within) == (True, 0)
    assert not engine.timers
    assert engine.loaded == drop_in()
    assert leftovers(engine) == []


def test_an_sshd_for_each_connection_is_not_told_to_reload(engine: Engine) -> None:
    """B14."""
    engine.sshd.reload, engine.sshd.per_connection = (), "ssh.socket"
    engine.refused_reloads = 99
    give()
    unit = (_ssh_files.UNITS / "ssh.socket.d/bulkhead-ssh.conf").read_text(encoding="utf-8")
    assert "MaxConnections=1000" in unit
    assert not give().changed


def test_a_login_that_fails_takes_everything_back_that_this_run_has_given(engine: Engine) -> None:
    """B26."""
    before = engine.files()
    engine.login_problem["docker-alice"] = "Connection closed (its log says: pam_time: denied)"
    with pytest.raises(_plan.AccessError, match=r"nobody can log in to docker-alice .*pam_time: denied"):
        give()
    assert engine.files() == before
    assert engine.admitted == set()
    assert engine.loaded == ""
    assert not engine.timers


def test_a_login_that_fails_leaves_those_alone_who_had_access_before(engine: Engine) -> None:
    give()
    before = engine.files()
    engine.login_problem["docker-bob"] = "Connection closed"
    with pytest.raises(_plan.AccessError, match="docker-bob"):
        give(user("docker-alice"), user("docker-bob", OTHER), max_sessions=7)
    assert engine.files() == before
    assert engine.admitted == {ADMINS}


def test_no_login_is_tried_where_nobody_wants_it_or_nothing_changed(engine: Engine) -> None:
    engine.login_problem["docker-alice"] = "from elsewhere only"
    give(try_login=False)
    give()
    assert engine.logins == []


UNPROVEN = "and nothing else proves sshd's new configuration"


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize("over_ssh", [True, False])
def test_a_host_without_ssh_says_that_no_login_is_tried(engine: Engine, check_mode: bool, over_ssh: bool) -> None:
    engine.has_ssh = False
    result = _access.run(desired(), check_mode, over_ssh)
    (warning,) = result.warnings
    assert "ssh is not installed on this host, so that no login to the accounts is tried there" in warning
    assert (UNPROVEN in warning) == (not over_ssh)
    assert (result.changed, result.logins, engine.logins) == (True, [], [])
    assert _access.run(desired(try_login=False), True, over_ssh).warnings == []


def test_a_host_without_ssh_still_loses_an_account_with_a_change_of_sshd(engine: Engine) -> None:
    give(user("docker-alice"), user("docker-bob", OTHER))
    engine.has_ssh = False
    result = _access.run(desired(user("docker-alice"), max_sessions=7), over_ssh=False)
    assert UNPROVEN in " ".join(result.warnings)
    assert result.removed == ["docker-bob"]
    assert "docker-bob" not in engine.users


def test_no_warning_comes_where_there_is_nobody_to_try(engine: Engine) -> None:
    give()
    engine.has_ssh = False
    gone = _access.run(desired(user("docker-alice", state="absent"), max_sessions=7), over_ssh=False)
    assert gone.changed
    assert "no login" not in " ".join(gone.warnings)


def test_who_leaves_loses_key_and_account_before_anybody_gets_something(engine: Engine) -> None:
    give(user("docker-alice"), user("docker-bob", OTHER))
    result = give(user("docker-bob", OTHER))
    assert result.removed == ["docker-alice"]
    assert "docker-alice" not in engine.users
    assert not (_ssh_files.KEYS / "docker-alice").exists()


BOB = user("docker-bob", OTHER, comment="identity bob")


@pytest.mark.parametrize("keep_it", [["bob"], ["docker-bob"]])
def test_an_account_that_is_kept_stays_with_its_keys(engine: Engine, keep_it: list[str]) -> None:
    give(user("docker-alice"), BOB)

    result = give(user("docker-alice"), keep=keep_it)

    assert (result.changed, result.removed, result.diff) == (False, [], [])
    assert result.users == ["docker-alice", "docker-bob"]
    assert "docker-bob" in engine.users
    assert OTHER in (_ssh_files.KEYS / "docker-bob").read_text(encoding="utf-8")
    assert give(user("docker-alice")).removed == ["docker-bob"], "nobody keeps it any more"


def test_an_account_that_is_kept_gets_keys_and_loses_none(engine: Engine) -> None:
    give(user("docker-alice", ED25519))
    result = give(user("docker-alice", OTHER), keep=["docker-alice"])
    assert result.changed
    lines = (_ssh_files.KEYS / "docker-alice").read_text(encoding="utf-8").splitlines()
    assert [line.split()[-1] for line in lines] == [OTHER.split()[-1], ED25519.split()[-1]]
    assert not give(user("docker-alice", OTHER), keep=["docker-alice"]).changed
    give(user("docker-alice", OTHER))
    assert ED25519 not in (_ssh_files.KEYS / "docker-alice").read_text(encoding="utf-8")


def test_an_identity_that_is_kept_is_no_reason_to_leave_keys_in_an_account_of_others(engine: Engine) -> None:
    """As in a revocation of somebody who shares the account of that identity."""
    give(user("team", ED25519, comment="identity bob"))
    give(user("team", OTHER, comment="identity ops"), keep=["bob"])
    assert ED25519 not in (_ssh_files.KEYS / "team").read_text(encoding="utf-8")


def test_a_line_that_nobody_has_written_for_the_account_is_not_kept(engine: Engine) -> None:
    give()
    with (_ssh_files.KEYS / "docker-alice").open("a", encoding="utf-8") as file:
        file.write(f"{OTHER}\n")  # without what restricts it
    give(keep=["docker-alice"])
    assert OTHER not in (_ssh_files.KEYS / "docker-alice").read_text(encoding="utf-8")


@pytest.mark.parametrize("end", [{"state": "absent"}, {"expires": "2020-01-01"}])
def test_what_is_said_of_an_account_itself_counts_more_than_that_it_is_kept(
    engine: Engine, end: dict[str, str]
) -> None:
    give(user("docker-alice"), BOB)
    assert give(user("docker-alice"), {**BOB, **end}, keep=["bob", "docker-bob"]).removed == ["docker-bob"]
    assert not (_ssh_files.KEYS / "docker-bob").exists()


def test_an_account_that_is_kept_is_nobody_s_but_ours(engine: Engine) -> None:
    give()
    assert give(keep=["ops", "root", "nobody"]).users == ["docker-alice"]


def test_one_account_is_rewritten_and_all_others_are_left_alone(engine: Engine) -> None:
    """As by a revocation: whoever waits for a socket, or has an account that nobody asks for, is not in its way."""
    _gateway_knows(limited="status")
    give(user("team", ED25519, OTHER), user("docker-alice"), user("limited", scope="status"), BOB)
    _places.PLACES.settings.unlink()
    result = give(user("team", OTHER), user("docker-alice", state="absent"), keep=["*"])
    assert (result.removed, result.users) == (["docker-alice"], ["team", "docker-bob", "limited"])
    assert ED25519 not in (_ssh_files.KEYS / "team").read_text(encoding="utf-8")
    assert ED25519 in (_ssh_files.KEYS / "limited").read_text(encoding="utf-8")
    assert sorted(engine.admins) == ["docker-bob", "team"]


def test_folders_that_are_closed_to_the_accounts_are_opened_again(engine: Engine) -> None:
    """B07."""
    give()
    for folder in _ssh_files.folders():
        folder.chmod(0o700)
    assert give().changed
    assert {folder.stat().st_mode & 0o777 for folder in _ssh_files.folders()} == {0o755}


def test_empty_never_means_all(engine: Engine) -> None:
    give()
    before = engine.files()
    with pytest.raises(_plan.AccessError, match=r"write \[all\] to take everything away"):
        _access.take([])
    for name in ("all", "../x", "docker-alice\n"):
        with pytest.raises(_plan.AccessError, match="cannot be the name of an account"):
            _access.take([name, "docker-alice"])
    assert engine.files() == before


@pytest.mark.parametrize("seen", [1, 2])
def test_what_nobody_awaits_any_more_does_not_begin(engine: Engine, seen: int) -> None:
    """The old plan of a run that was cut off gives nobody back what another run has taken meanwhile."""
    give(user("docker-alice"), user("docker-bob", OTHER))
    _access.take(["docker-alice"])
    before = engine.files()
    for work in (
        lambda gone: _access.run(desired(), over_ssh=True, is_awaited=gone),
        lambda gone: _access.take(["docker-bob"], is_awaited=gone),
        lambda gone: _access.clear(over_ssh=True, is_awaited=gone),
    ):
        asked = iter([True] * (seen - 1))
        with pytest.raises(_locks.LockError, match="nobody waits for this change any more"):
            work(lambda asked=asked: next(asked, False))
    assert engine.files() == before


def test_one_account_is_taken_and_sshd_is_not_asked(engine: Engine) -> None:
    give(user("docker-alice"), user("docker-bob", OTHER))
    engine.sshd = t.cast(t.Any, None)
    result = _access.take(["docker-bob", "docker-nobody"])
    assert (result.changed, result.removed, result.users) == (True, ["docker-bob"], ["docker-alice"])
    assert not _access.take(["docker-bob"]).changed


def test_everything_is_taken_away_again(engine: Engine) -> None:
    before = engine.files()
    give()
    result = _access.clear(over_ssh=True)
    assert result.removed == ["docker-alice"]
    keep()
    assert engine.files() == before
    assert engine.loaded == ""
    assert engine.admitted == set()
    assert not _access.clear(over_ssh=True).changed


@pytest.mark.parametrize("missing", ["systemd", "sshd", "both"])
def test_nothing_of_ours_is_unchanged_whatever_the_host_lacks(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    if missing in ("systemd", "both"):
        engine.service = object()
    if missing in ("sshd", "both"):
        _sshd.CONFIG.unlink()

        def none() -> t.NoReturn:
            raise _sshd.SshdError("no sshd")

        monkeypatch.setattr(_sshd, "Sshd", none)
    result = _access.clear(over_ssh=True)
    assert (result.changed, result.removed, result.confirm_within) == (False, [], 0)


def test_sshd_that_does_not_reload_gets_its_files_back(engine: Engine) -> None:
    engine.refused_reloads = 1
    with pytest.raises(_commit.CommitError, match="The previous configuration is back"):
        give()
    assert not _sshd.DROP_IN.exists()
    assert not engine.timers
    assert leftovers(engine) == []


WHOLE_RUN_STEPS = 60


@pytest.mark.parametrize("afterwards", ["timer", "reboot", "next run"])
def test_a_run_that_is_killed_at_any_moment_leaves_sshd_as_it_was_or_wanted(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, engine: Engine, afterwards: str
) -> None:
    give()
    old = drop_in()
    wanted = (user("docker-bob", OTHER),)
    killed = 0
    for number in range(1, WHOLE_RUN_STEPS):
        engine.steps, engine.killed_at = 0, number
        try:
            give(*wanted, max_sessions=7)
        except Killed:
            killed += 1
        engine.killed_at = None
        if afterwards == "timer" and engine.timers:
            engine.fire_timer()
        elif afterwards == "reboot":
            engine.reboot()
        if afterwards != "next run":
            assert engine.loaded == drop_in()
            assert engine.loaded == old or "MaxSessions 7" in engine.loaded
        give(*wanted, max_sessions=7)
        assert "MaxSessions 7" in engine.loaded
        assert engine.loaded == drop_in()
        assert set(engine.users) == {"root", "ops", "docker-bob"}
        assert leftovers(engine) == []
        give()
        assert engine.loaded == old
    assert 10 < killed < WHOLE_RUN_STEPS - 1, "there were moments to be killed at, and they were all tried"


def test_two_control_nodes_take_turns_without_changing_sshd(engine: Engine) -> None:
    give()
    assert "PerSourcePenaltyExemptList 192.0.2.9" in engine.loaded
    engine.connection = _sshd.Connection("ops", "other", "192.0.2.10", "x", "22")
    assert give().changed
    assert "PerSourcePenaltyExemptList 192.0.2.9,192.0.2.10" in engine.loaded
    engine.connection = _sshd.Connection("ops", "again", "192.0.2.9", "x", "22")
    assert not give().changed


def test_a_control_node_with_a_zone_is_not_written_into_sshd_s_files(engine: Engine) -> None:
    give()
    engine.connection = _sshd.Connection("ops", "other", "fe80::1%eth0\n", "x", "22")
    assert not give().changed
    assert "PerSourcePenaltyExemptList 192.0.2.9\n" in engine.loaded


def test_clients_are_exempt_by_name_and_address_unless_nobody_wants_it(engine: Engine) -> None:
    result = give(clients=["192.0.2.33", "localhost", "no such host.invalid"])
    assert "192.0.2.33/32" in engine.loaded
    assert "127.0.0.1/32" in engine.loaded
    assert "cannot resolve no such host.invalid" in result.warnings[0]
    give(clients=["192.0.2.33"], exempt_clients=False)
    assert "PerSourcePenaltyExemptList" not in engine.loaded
    give(clients=["192.0.2.33"], exempt_clients=False, client_networks=["198.51.100.0/24"])
    assert "PerSourcePenaltyExemptList 198.51.100.0/24" in engine.loaded


def test_limits_are_raised_and_never_lowered(engine: Engine) -> None:
    other = _sshd.DROP_IN.with_name("10-site.conf")
    other.write_text("MaxStartups 700:20:800\nPerSourceMaxStartups 5\n", encoding="utf-8")
    give()
    assert "MaxStartups 700:20:1000\n" in engine.loaded
    assert "PerSourceMaxStartups 1000\n" in engine.loaded
    other.write_text("MaxStartups 900:10:2000\n", encoding="utf-8")
    give()
    assert "MaxStartups" not in engine.loaded


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_startups": "10:30:100\n"}, "START:RATE:FULL"),
        ({"max_startups": "many"}, "START:RATE:FULL"),
        ({"max_sessions": 0}, "use 1 to 1000"),
        ({"confirm_timeout": 1}, "use 5 or more"),
    ],
)
def test_options_that_cannot_be_are_refused_in_a_sentence(options: dict[str, t.Any], sentence: str) -> None:
    with pytest.raises(_plan.AccessError, match=sentence):
        desired(**options)


# -- scopes ------------------------------------------------------------------------------------------------------------


def _gateway_knows(**scopes: str) -> None:
    """What the engine's gateway was set up with: accounts with their scopes."""
    wanted = _settings.read(
        {
            "identities": [],
            "accounts": [{"name": name, "identity": "alice", "scope": scope} for name, scope in scopes.items()],
            "scopes": [{"name": scope, "rules": ["GET /_ping"]} for scope in set(scopes.values())],
        }
    )
    _places.PLACES.config.mkdir(exist_ok=True)
    _places.PLACES.settings.write_bytes(wanted.dump(["127.0.0.1"], 2376))


def test_an_account_with_a_limited_scope_is_not_let_to_the_docker_socket(engine: Engine) -> None:
    _gateway_knows(limited="status")
    assert give(user("docker-alice"), user("limited", OTHER, scope="status")).changed
    assert engine.admins == ["docker-alice"]
    assert engine.admitted == {ADMINS}
    assert engine.users["limited"].pw_gid == GID
    assert not give(user("docker-alice"), user("limited", OTHER, scope="status")).changed


def test_the_group_of_all_accounts_is_not_let_to_the_docker_socket(engine: Engine) -> None:
    give()
    engine.admitted.add(GID)
    assert give().changed
    assert engine.admitted == {ADMINS}


@pytest.mark.parametrize("known", [{}, {"docker-bob": "status"}, {"docker-alice": "other"}])
def test_a_limited_account_needs_a_gateway_that_knows_it_so(engine: Engine, known: dict[str, str]) -> None:
    if known:
        _gateway_knows(**known)
    before = engine.files()
    with pytest.raises(_sockets.SocketError, match="docker-alice has the scope status, and the gateway of this host"):
        give(user("docker-alice", scope="status"))
    assert engine.files() == before


def test_another_scope_moves_the_account_and_ends_what_it_runs(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []
    monkeypatch.setattr(_accounts, "end_processes", lambda account: ended.append(account.name))
    give()
    _gateway_knows(**{"docker-alice": "status"})
    for scope, admins in (("status", []), ("admin", ["docker-alice"])):
        ended.clear()
        result = give(user("docker-alice", scope=scope))
        assert result.changed
        assert "through the gateway" in str(result.diff)
        assert (engine.admins, ended) == (admins, ["docker-alice"])
        assert not give(user("docker-alice", scope=scope)).changed


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([user("docker-alice")], [user("docker-alice", scope="status")]),
        ([user("docker-alice", scope="status")], [user("docker-alice")]),
        ([user("docker-alice", ED25519, OTHER)], [user("docker-alice", OTHER)]),
    ],
)
def test_sessions_that_a_killed_run_has_not_ended_are_ended_by_the_next_one(
    engine: Engine, before: list[dict[str, t.Any]], after: list[dict[str, t.Any]]
) -> None:
    _gateway_knows(**{"docker-alice": "status"})
    was_killed, number = True, 0
    while was_killed:
        number += 1
        give(*before)
        engine.sessions = {"docker-alice"}
        engine.steps, engine.killed_at = 0, number
        try:
            give(*after)
            was_killed = False
        except Killed:
            engine.killed_at = None
            give(*after)
        assert engine.sessions == set(), f"killed at step {number}"
        assert not give(*after).changed
    assert number > 2, "there were moments to be killed at"


def test_sessions_that_do_not_end_are_tried_again_by_the_next_run(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    _gateway_knows(**{"docker-alice": "status"})
    give()
    engine.sessions = {"docker-alice"}
    with monkeypatch.context() as context, pytest.raises(_accounts.AccountError, match="do not end"):
        context.setattr(_accounts, "end_processes", _hanging)
        give(user("docker-alice", scope="status"))
    assert _access.run(desired(user("docker-alice", scope="status")), check_mode=True).changed
    give(user("docker-alice", scope="status"))
    assert engine.sessions == set()


def _hanging(account: _accounts.Account) -> t.NoReturn:
    raise _accounts.AccountError(f"processes of {account.name} do not end: 1.")


def test_an_account_that_was_made_an_admin_and_cannot_log_in_is_none_again(engine: Engine) -> None:
    _gateway_knows(**{"docker-alice": "status"})
    give(user("docker-alice", scope="status"))
    engine.login_problem["docker-alice"] = "Connection closed"
    engine.begins_with_login = True
    with pytest.raises(_plan.AccessError, match="nobody can log in"):
        give(user("docker-alice"))
    assert engine.admins == []
    assert engine.sessions == set(), "what began in between is an admin's"


def test_a_login_that_fails_takes_nobody_out_of_the_group_of_admins_who_was_in_it(engine: Engine) -> None:
    """Neither one that stays as it is, nor one that is kept, nor one that this run has repaired."""
    everybody = [user("docker-alice"), user("docker-carol", comment="identity carol"), user("docker-dave")]
    give(*everybody)
    engine.users["docker-dave"].pw_dir = "/tmp"
    engine.login_problem["docker-bob"] = "Connection closed"
    wanted = [user("docker-alice", comment="Alice"), user("docker-dave"), user("docker-bob", OTHER)]
    with pytest.raises(_plan.AccessError, match="nobody can log in to docker-bob"):
        give(*wanted, keep=["carol"])
    assert sorted(engine.admins) == ["docker-alice", "docker-carol", "docker-dave"]


def test_somebody_else_in_the_group_of_admins_is_refused(engine: Engine) -> None:
    give()
    engine.admins.append("ops")
    with pytest.raises(
        _accounts.AccountError, match=r"members that the role did not make: ops; whoever is in it is root"
    ):
        give()
