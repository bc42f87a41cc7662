"""What a gateway is set up with, and the files that it is made of."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._gateway import config, files, places, settings
from cryptography import x509
from cryptography.x509.oid import NameOID
from helpers import pki

GIVEN: dict[str, t.Any] = {
    "identities": [{"name": "admin", "scope": "admin"}, {"name": "alice", "scope": "own"}],
    "scopes": [{"name": "own", "rules": ["GET /_ping"]}, {"name": "unused", "rules": ["GET /info"]}],
}


def _installed(given: dict[str, t.Any]) -> settings.Installed:
    return settings.Installed(settings.read(given), ("0.0.0.0",), 2376)  # noqa: S104


def test_what_is_recorded_is_what_was_given(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "PLACES", places.Places(tmp_path))
    wanted = settings.read({**GIVEN, "max_connections": 7})
    (tmp_path / "settings.json").write_bytes(wanted.dump(["192.0.2.1"], 2377))
    found = settings.Installed.read()
    assert found == settings.Installed(wanted, ("192.0.2.1",), 2377)
    assert [scope.name for scope in wanted.scopes] == ["own"]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"identities": {"a b": "admin"}, "listen": [], "port": 1}'])
def test_a_record_that_is_damaged_is_said(text: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "PLACES", places.Places(tmp_path))
    (tmp_path / "settings.json").write_text(text, encoding="ascii")
    with pytest.raises(places.GatewayError, match=r"settings\.json is damaged"):
        settings.Installed.read()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"identities": [{"name": "a", "scope": "none"}]}, "which has no rules"),
        ({"identities": [{"name": "a'b", "scope": "admin"}]}, "is not the name of an identity"),
        ({**GIVEN, "identities": [{"name": "a", "scope": "own"}, {"name": "a", "scope": "admin"}]}, "several scopes"),
        ({"scopes": [{"name": "admin", "rules": []}]}, "is not the name of a scope"),
        ({"scopes": [{"name": "a b", "rules": []}]}, "is not the name of a scope"),
        ({"scopes": [{"name": "own", "rules": ["GET /a'b"]}]}, "has the path"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, t.Any], said: str) -> None:
    with pytest.raises(places.GatewayError, match=said):
        settings.read(given)


def test_who_is_gone_or_may_do_something_else_is_changed() -> None:
    wider = {**GIVEN, "scopes": [{"name": "own", "rules": ["GET /_ping", "GET /info"]}]}
    assert settings.read(GIVEN).changed_for(None) == []
    assert settings.read(GIVEN).changed_for(_installed(GIVEN)) == []
    assert settings.read(wider).changed_for(_installed(GIVEN)) == ["alice"]
    assert settings.read({"identities": []}).changed_for(_installed(GIVEN)) == ["admin", "alice"]


def _named(*attributes: x509.NameAttribute) -> str:
    authority = pki.Authority("x")
    authority.name = x509.Name(attributes)
    return (
        authority._sign(authority.name, authority.key.public_key(), [])
        .public_bytes(pki.serialization.Encoding.PEM)
        .decode()
    )


def test_a_ca_whose_name_two_libraries_write_differently_is_refused() -> None:
    wanted = settings.read(GIVEN)
    for attribute in (
        x509.NameAttribute(NameOID.COMMON_NAME, "Bücher"),
        x509.NameAttribute(NameOID.EMAIL_ADDRESS, "a@example.com"),
    ):
        with pytest.raises(places.GatewayError, match="has a name that the gateway cannot compare"):
            files.configuration(wanted, ["127.0.0.1"], 2376, _named(attribute), "/run/docker.sock")


def test_an_issuing_ca_is_refused() -> None:
    issuing = pki.Authority("issuing", above=pki.Authority("root", path_length=1))
    with pytest.raises(places.GatewayError, match="is signed by another one"):
        files.configuration(settings.read(GIVEN), ["127.0.0.1"], 2376, issuing.pem, "/run/docker.sock")


def test_the_key_is_for_the_gateway_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_group_of", lambda _: "docker")
    pem = pki.Authority("ca").pem
    made = files.targets(settings.read(GIVEN), ["127.0.0.1"], 2376, pem, "cert", b"key", "/run/docker.sock")
    server = next(target for target in made if target.content == b"certkey")
    assert (server.mode, server.group, server.secret) == (0o440, "docker-gateway", True)
    assert not [target for target in made if target is not server and (target.content or b"")[-3:] == b"key"]


def test_a_gateway_is_not_let_to_the_socket_by_being_root(tmp_path: pathlib.Path) -> None:
    if os.geteuid():
        pytest.skip("the file has to be root's")
    (tmp_path / "docker.sock").touch()
    with pytest.raises(places.GatewayError, match="belongs to the group root"):
        files._group_of(str(tmp_path / "docker.sock"))


def test_only_a_low_port_takes_a_capability() -> None:
    assert "AmbientCapabilities=\nCapabilityBoundingSet=\n" in files.unit("docker", 2376)
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE\n" in files.unit("docker", 443)


def test_either_wildcard_is_both_families() -> None:
    assert config.binds(["0.0.0.0"], 2376, True) == ("ipv6@:::2376 v4v6",)  # noqa: S104
    assert config.binds(["0.0.0.0"], 2376, False) == ("ipv4@0.0.0.0:2376",)  # noqa: S104
    assert config.binds(["192.0.2.1", "2001:db8::1"], 1, True) == ("ipv4@192.0.2.1:1", "ipv6@2001:db8::1:1")


def _of_groups(**access: list[str]) -> tuple[dict[str, t.Any], dict[str, pki.Authority]]:
    """Settings with access groups, each with a CA of its own."""
    cas = {name: pki.Authority(f"bulkhead.docker CA {name}") for name in ("ops", "staging")}
    identities = [{"name": name, "scope": "admin", "access": groups} for name, groups in access.items()]
    groups = [{"name": name, "ca_certificate": one.pem} for name, one in cas.items()]
    return {"identities": identities, "groups": groups}, cas


def _issuers(given: dict[str, t.Any] | settings.Settings, cas: dict[str, pki.Authority]) -> dict[str, list[str]]:
    wanted = given if isinstance(given, settings.Settings) else settings.read(given)
    bundle = "".join(one.pem for one in cas.values())
    made = files.configuration(wanted, ["127.0.0.1"], 2376, bundle, "/run/docker.sock")
    return {one.name: [name.rpartition(" ")[2] for name in one.issuers] for one in made.identities}


def test_an_identity_is_known_by_the_cas_of_its_groups_alone(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, cas = _of_groups(ann=["staging"], bob=["ops"], cat=["staging", "ops"], dan=[])
    assert _issuers(given, cas) == {"ann": ["staging"], "bob": ["ops"], "cat": ["staging", "ops"]}
    # A revocation makes the files from the record, and a run of engines alone knows the groups and nobody else.
    monkeypatch.setattr(places, "PLACES", places.Places(tmp_path))
    (tmp_path / "settings.json").write_bytes(settings.read(given).dump(["192.0.2.1"], 2376))
    installed = settings.Installed.read()
    assert installed
    assert installed.settings == settings.read(given)
    assert _issuers(installed.settings.without(["cat"]), cas) == {"ann": ["staging"], "bob": ["ops"]}
    alone = settings.read({"groups": given["groups"]}).completed(installed)
    assert _issuers(alone, cas) == _issuers(given, cas)


def test_who_was_in_a_group_is_in_none_where_the_engine_has_none_any_more(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate with that name by the CA for all is somebody else's, in every run that does not know better."""
    given, cas = _of_groups(ann=["staging"], bob=["default"])
    monkeypatch.setattr(places, "PLACES", places.Places(tmp_path))
    installed: settings.Installed | None = settings.Installed(settings.read(given), ("192.0.2.1",), 2376)
    for _ in range(2):
        alone = settings.read({}).completed(installed)
        assert _issuers(alone, {"ops": cas["ops"]}) == {"bob": ["ops"]}
        (tmp_path / "settings.json").write_bytes(alone.dump(["192.0.2.1"], 2376))
        installed = settings.Installed.read()


def test_a_run_that_knows_no_identities_knows_who_was_revoked() -> None:
    """The engine was not there then."""
    given = {**GIVEN, "accounts": [{"name": "docker-alice", "identity": "alice", "scope": "own"}]}
    alone = settings.read({"revoked": ["alice", "nobody"]}).completed(_installed(given))
    assert alone.identities == {"admin": "admin"}
    assert (alone.accounts, alone.scopes) == ((), ())
    assert alone.changed_for(_installed(given)) == ["alice"]


def test_in_a_rotation_a_group_has_two_cas() -> None:
    given, cas = _of_groups(ann=["staging"], bob=["ops"])
    cas["new"] = pki.Authority("bulkhead.docker CA new")
    given["groups"][1]["ca_certificate"] += cas["new"].pem
    assert _issuers(given, cas) == {"ann": ["staging", "new"], "bob": ["ops"]}
    # Whoever goes on with another certificate of the same group is not cut.
    assert settings.read(given).changed_for(_installed(_of_groups(ann=["staging"], bob=["ops"])[0])) == []


def test_who_leaves_a_group_is_cut() -> None:
    before, after = (_of_groups(ann=groups, bob=["ops"])[0] for groups in (["ops", "staging"], ["staging"]))
    assert settings.read(after).changed_for(_installed(before)) == ["ann"]


def test_who_was_in_before_there_were_groups_is_not_cut() -> None:
    before = {"identities": [{"name": name, "scope": "admin"} for name in ("ann", "bob")]}
    after = _of_groups(ann=["default"], bob=["staging"])[0]
    after["groups"].append({"name": "default", "ca_certificate": pki.Authority("bulkhead.docker CA").pem})
    assert settings.read(after).changed_for(_installed(before)) == ["bob"]


def test_groups_that_cannot_be_told_apart_are_refused() -> None:
    given, cas = _of_groups(ann=["staging"])
    given["groups"][0]["ca_certificate"] = given["groups"][1]["ca_certificate"]
    with pytest.raises(places.GatewayError, match="several access groups have a CA with the name CN="):
        _issuers(given, cas)
    with pytest.raises(places.GatewayError, match="is not the name of an access group"):
        settings.read({**given, "groups": [{"name": "../x", "ca_certificate": ""}]})


def test_without_groups_files_are_as_they_were() -> None:
    assert b"access" not in settings.read(GIVEN).dump(["192.0.2.1"], 2376)
    assert b"groups" not in settings.read(GIVEN).dump(["192.0.2.1"], 2376)
