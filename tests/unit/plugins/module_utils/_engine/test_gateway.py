"""A gateway comes and goes with the engine's own files, and is undone together with them."""

from __future__ import annotations

import itertools
import json
import pathlib
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import certificate as _certificate
from ansible_collections.bulkhead.docker.plugins.module_utils._engine import checks, inspect, report, transaction
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import files, places, service, settings
from helpers import pki

from plugins.module_utils._engine import test_transaction as base

daemon = base.daemon  # the fixture of an engine that exists in files alone
ALICE = settings.read(
    {
        "identities": [{"name": "admin", "scope": "admin"}, {"name": "alice", "scope": "status"}],
        "scopes": [{"name": "status", "rules": ["GET /_ping"]}],
    }
)
ALONE = settings.read({"identities": [{"name": "admin", "scope": "admin"}]})


class Unit:
    """The service of the gateway; what it runs with outlives the process of the module."""

    def __init__(self, file: pathlib.Path) -> None:
        self.file = file
        self.set(runs=False, loaded="", cut=[])

    @property
    def state(self) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", json.loads(self.file.read_text(encoding="utf-8")))

    def set(self, **state: t.Any) -> None:
        known = self.state if self.file.exists() else {}
        self.file.write_text(json.dumps({**known, **state}), encoding="utf-8")

    fails: t.ClassVar[bool] = False

    def start(self, unit_changed: bool) -> None:
        loaded = places.PLACES.haproxy.read_text(encoding="utf-8")
        if "2376" in json.dumps(inspect.read_daemon_json().get("hosts")):
            raise places.UnitError("the port is taken")
        if self.fails and "id_alice" in loaded:
            raise places.UnitError("the gateway did not load its new configuration")
        self.set(runs=True, loaded=loaded)

    def stop(self) -> None:
        self.set(runs=False, loaded="")

    def cut(self, names: t.Collection[str]) -> int:
        self.set(cut=[*self.state["cut"], *names])
        return len(names)


@pytest.fixture
def unit(daemon: base.Daemon, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Unit:
    del daemon
    made = Unit(tmp_path / "unit.json")
    monkeypatch.setattr(places, "PLACES", places.Places(tmp_path / "gateway", tmp_path / "run"))
    monkeypatch.setattr(places, "UNIT", tmp_path / "units" / "docker-gateway.service")
    monkeypatch.setattr(places, "USER", "root")
    monkeypatch.setattr(places, "program", lambda: "/usr/sbin/haproxy")
    monkeypatch.setattr(files, "_group_of", lambda _: "docker")
    monkeypatch.setattr(service, "runs", lambda: made.state["runs"])
    monkeypatch.setattr(service, "starts_at_boot", lambda: made.state["runs"])
    monkeypatch.setattr(service, "ensure_account", lambda: None)
    monkeypatch.setattr(service, "remove_account", lambda: None)
    for name in ("start", "stop", "cut"):
        monkeypatch.setattr(service, name, getattr(made, name))
    monkeypatch.setattr(checks, "endpoint_findings", lambda *_: [])

    def findings(api: base.Daemon, listen: t.Sequence[str], port: int, ca: str, certificate: str) -> list[str]:
        text = places.PLACES.server.read_text(encoding="ascii") if made.state["runs"] else ""
        served = [*api.runs["loaded"], text]
        return [] if not listen or any(certificate in one for one in served) else ["it serves another certificate"]

    monkeypatch.setattr(checks, "findings", findings)
    return made


def _secure(authority: base.Authority, gateway: settings.Settings | None = None, **more: t.Any) -> t.Any:
    pair = authority.pair(inspect.PENDING_KEY) if not inspect.CERTIFICATE.exists() else ""
    return transaction.change(base.desired(authority, pair, gateway=gateway, **more))


def _ours() -> list[str]:
    folders = (places.PLACES.config, places.UNIT.parent)
    return sorted(path.name for folder in folders if folder.exists() for path in folder.iterdir())


WHOLE = ["ca.pem", "docker-gateway.service", "haproxy.cfg", "server.pem", "settings.json", "ssh_sockets.py"]


def test_dockerd_gives_its_endpoint_to_the_gateway_and_gets_it_back(daemon: base.Daemon, unit: Unit) -> None:
    authority = base.Authority()
    _secure(authority)
    assert inspect.read_daemon_json()["hosts"] == ["fd://", "tcp://0.0.0.0:2376"]
    result = _secure(authority, ALICE)
    assert result.changed
    assert result.restarted
    assert inspect.read_daemon_json()["hosts"] == ["fd://"]
    assert unit.state["runs"]
    assert _ours() == WHOLE
    assert inspect.gather().gateway_hosts == ["tcp://0.0.0.0:2376"]
    assert not _secure(authority, ALICE).changed
    result = _secure(authority)
    assert result.restarted
    assert inspect.read_daemon_json()["hosts"] == ["fd://", "tcp://0.0.0.0:2376"]
    assert not unit.state["runs"]
    assert _ours() == []
    assert daemon.runs["container"]


def test_a_run_that_knows_no_clients_takes_no_gateway_away(daemon: base.Daemon, unit: Unit) -> None:
    authority = base.Authority()
    _secure(authority, ALICE)
    starts = daemon.runs["start"]
    with pytest.raises(inspect.EngineError, match="this engine has a gateway, and docker_gateway_enabled is false"):
        _secure(authority, gateway_stays=True)
    assert _ours() == WHOLE
    assert unit.state["runs"]
    assert daemon.runs["start"] == starts
    assert not _secure(authority, ALICE, gateway_stays=True).changed


def test_who_is_gone_is_cut_and_dockerd_is_not_restarted(daemon: base.Daemon, unit: Unit) -> None:
    authority = base.Authority()
    _secure(authority, ALICE)
    starts = daemon.runs["start"]
    result = _secure(authority, ALONE)
    assert result.changed
    assert not result.restarted
    assert daemon.runs["start"] == starts
    assert unit.state["cut"] == ["alice"]
    assert "id_alice" not in unit.state["loaded"]


def test_a_renewal_restarts_no_dockerd(daemon: base.Daemon, unit: Unit) -> None:
    authority = base.Authority()
    _secure(authority, ALICE)
    starts = daemon.runs["start"]
    pair = authority.pair(inspect.PENDING_KEY)
    renewal = _certificate.Renewal(force=True)
    result = transaction.change(base.desired(authority, pair, gateway=ALICE, renewal=renewal))
    assert result.changed
    assert not result.restarted
    assert daemon.runs["start"] == starts
    assert pair in places.PLACES.server.read_text(encoding="ascii")
    assert unit.state["cut"] == []


def _of_groups(**cas: str) -> settings.Settings:
    identities = [{"name": name, "scope": "admin", "access": [name]} for name in ("ops", "staging")]
    groups = [{"name": name, "ca_certificate": pem} for name, pem in cas.items()]
    return settings.read({"identities": identities, "groups": groups})


def test_the_ca_of_one_group_follows_another_and_nobody_is_cut(daemon: base.Daemon, unit: Unit) -> None:
    authority, old, new = base.Authority(), pki.Authority("ops old"), pki.Authority("ops new")
    _secure(authority, _of_groups(staging=authority.pem, ops=old.pem))
    starts = daemon.runs["start"]
    for pem in (old.pem + new.pem, new.pem):
        wanted = _of_groups(staging=authority.pem, ops=pem)
        found = report.gateway_findings(inspect.gather(), wanted)
        assert found == ["its gateway has other access groups than declared; run bulkhead.docker.site"]
        result = _secure(authority, wanted)
        assert result.changed
        assert not result.restarted
        assert report.gateway_findings(inspect.gather(), wanted) == []
    assert "ops new" in unit.state["loaded"]
    assert "ops old" not in unit.state["loaded"]
    assert (daemon.runs["start"], unit.state["cut"]) == (starts, [])
    # Where the engine leaves a group, so does whoever was in by it.
    assert _secure(authority, _of_groups(staging=authority.pem)).changed
    assert "id_ops" not in unit.state["loaded"]
    assert unit.state["cut"] == ["ops"]


def test_a_run_without_identities_leaves_them(daemon: base.Daemon, unit: Unit) -> None:
    authority = base.Authority()
    unknown = settings.read({})
    with pytest.raises(places.GatewayError, match="this run knows no identities"):
        _secure(authority, unknown)
    assert not daemon.own_drop_in().exists()
    _secure(authority, ALICE)
    assert not _secure(authority, unknown).changed
    assert "id_alice" in unit.state["loaded"]


def test_a_gateway_that_does_not_load_is_undone_with_everything_else(
    daemon: base.Daemon, unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = base.Authority()
    monkeypatch.setattr(Unit, "fails", True)
    before = base.picture(daemon)
    with pytest.raises(transaction.TransactionError, match=r"did not load its new configuration.*answers as before"):
        _secure(authority, ALICE)
    assert base.picture(daemon) == before
    assert _ours() == []
    assert not unit.state["runs"]
    _secure(authority, ALONE)
    loaded = unit.state["loaded"]
    with pytest.raises(transaction.TransactionError, match="did not load its new configuration"):
        _secure(authority, ALICE)
    assert unit.state["runs"]
    assert unit.state["loaded"] == loaded
    assert _ours() == WHOLE


def test_who_could_do_more_in_a_change_that_is_undone_is_cut(
    daemon: base.Daemon, unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = base.Authority()
    _secure(authority, ALICE)
    risen = settings.read({"identities": [{"name": "admin", "scope": "admin"}, {"name": "alice", "scope": "admin"}]})
    monkeypatch.setattr(checks, "findings", lambda *_: ["it does not answer"])
    with pytest.raises(transaction.TransactionError, match="it does not answer"):
        _secure(authority, risen)
    installed = settings.Installed.read()
    assert installed is not None
    assert installed.settings == ALICE
    assert unit.state["cut"][-1] == "alice"


def test_without_haproxy_nothing_is_changed(daemon: base.Daemon, unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "program", lambda: "")
    authority = base.Authority()
    before = base.picture(daemon)
    preview = transaction.change(base.desired(authority, gateway=ALICE), check_mode=True)
    assert preview.gateway_program_missing
    with pytest.raises(inspect.EngineError, match="HAProxy is missing"):
        _secure(authority, ALICE)
    assert base.picture(daemon) == before
    assert not unit.state["runs"]


def test_a_removal_takes_the_gateway_away(daemon: base.Daemon, unit: Unit) -> None:
    authority = base.Authority()
    _secure(authority, ALICE)
    transaction.change(base.desired(authority, absent=True))
    assert _ours() == []
    assert not unit.state["runs"]
    assert not inspect.DAEMON_JSON.exists()
    assert daemon.answers()


@pytest.mark.parametrize("back", [False, True], ids=["coming", "going"])
def test_a_change_that_is_killed_anywhere_is_undone(daemon: base.Daemon, unit: Unit, back: bool) -> None:
    authority = base.Authority()
    undone = 0
    for step in itertools.count(1):
        base.reset(daemon, None)
        for path in (*places.PLACES.config.glob("*"), *places.PLACES.config.glob(".*"), places.UNIT):
            path.unlink(missing_ok=True)
        unit.stop()
        daemon.boot()
        _secure(authority, ALICE if back else None)
        old, ran = (base.picture(daemon), _ours()), unit.state["runs"]
        wish = base.desired(authority, gateway=None if back else ALICE)
        if not base.die_at(step, lambda wish=wish: transaction.change(wish)):  # type: ignore[misc]
            break
        if inspect.JOURNAL.exists():
            transaction._undo(transaction._Journal.read(), 1)
            undone += 1
            assert (base.picture(daemon), _ours()) == old, step
            assert unit.state["runs"] == ran, step
        assert daemon.answers()
        assert daemon.runs["container"]
    assert undone > 10
