"""What the role docker_client derives, where a play would be too slow to try it all."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils import _client as client

WEB1 = {"name": "web1", "address": "192.0.2.1", "port": 2376}
IDENTITIES = [{"name": "alice"}, {"name": "bob", "user": "bob"}, {"name": "ci", "user": "bob", "valid_days": 90}]


def stores(identities: list[dict[str, Any]], pattern: str = "", **options: Any) -> dict[str, list[dict[str, Any]]]:
    wanted = client.stores(identities, [WEB1, {"name": "web2"}], ["tls"], pattern, "", **options)
    return {store["user"]: store["contexts"] for store in wanted}


def test_contexts_are_called_after_engines_and_where_needed_after_identities() -> None:
    wanted = stores(IDENTITIES)
    assert [context["name"] for context in wanted[""]] == ["web1", "web2"]
    assert [context["name"] for context in wanted["bob"]] == ["web1-bob", "web2-bob", "web1-ci", "web2-ci"]
    assert wanted[""][0] == {
        "name": "web1",
        "docker_host": "tcp://192.0.2.1:2376",
        "ca_path": "~/.bulkhead/identities/alice/ca.pem",
        "client_cert": "~/.bulkhead/identities/alice/cert.pem",
        "client_key": "~/.bulkhead/identities/alice/key.pem",
    }
    assert [context["name"] for context in stores(IDENTITIES, "{identity}.{engine}")[""]] == [
        "alice.web1",
        "alice.web2",
    ]


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("::1", "tcp://[::1]:2376"),
        ("[::1]", "tcp://[::1]:2376"),
        ("", "tcp://web1:2376"),
        ("a.example", "tcp://a.example:2376"),
    ],
)
def test_addresses_become_hosts(address: str, host: str) -> None:
    (store,) = client.stores([{"name": "a"}], [{"name": "web1", "address": address}], ["tls"], "", "")
    assert store["contexts"][0]["docker_host"] == host


def test_the_current_context_is_that_of_those_who_have_it() -> None:
    def current(name: str) -> list[str]:
        return [store["current"] for store in client.stores(IDENTITIES, [WEB1], ["tls"], "", name)]

    assert current("") == ["", ""]
    assert current("web1") == ["web1", ""]
    assert current("web1-ci") == ["", "web1-ci"]
    assert current("default") == ["default", "default"]


def test_what_check_mode_knows_to_change_is_looked_for_where_nothing_is() -> None:
    judged = [{"name": "alice", "user": "", "reasons": ["x"], "new_key": False, "ca_outdated": False}]
    context = stores([{"name": "alice"}], judged=judged)[""][0]
    assert "/pending/" in context["client_cert"]
    assert "/identities/" in context["client_key"]
    assert "/identities/" in context["ca_path"]


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A CA, and a certificate of it for the client alice that is valid for 100 days."""
    folder = tmp_path_factory.mktemp("issued")

    def openssl(*arguments: str | Path) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *curve, "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", *curve, "-subj", "/CN=alice", "-keyout", "key.pem", "-out", "csr.pem")
    (folder / "ext").write_text(
        "extendedKeyUsage=clientAuth\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\nkeyUsage=digitalSignature\n"
    )
    issuer = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "100", "-extfile", "ext")
    openssl("x509", "-req", "-in", "csr.pem", *issuer, "-out", "cert.pem")
    return {name: (folder / f"{name}.pem").read_text() for name in ("ca", "cert")}


def judge(found: dict[str, Any], bundle: str, **options: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {"key": "P-256", "valid_days": 365, "renew_days": 30, "force": False, **options}
    name = settings.pop("name", "alice")
    (record,) = client.judge([{"name": name}], {"": [{"home": "/home/a", **found}]}, bundle, **settings)
    return record


def whole(issued: dict[str, str], **changes: Any) -> dict[str, Any]:
    modes = {"folder": "drwx------", "key_mode": "-rw-------", "cert_mode": "-rw-r--r--", "ca_mode": "-rw-r--r--"}
    found = {"pending": None, "fits": True, "cert": issued["cert"], "ca": issued["ca"], **modes, **changes}
    return {name: value for name, value in found.items() if value is not None}


def test_a_whole_identity_needs_nothing(issued: dict[str, str]) -> None:
    record = judge(whole(issued), issued["ca"])
    assert (record["reasons"], record["repairs"], record["ca_outdated"], record["new_key"]) == ([], [], False, False)
    assert record["folder"] == "/home/a/.bulkhead/identities/alice"


@pytest.mark.parametrize(
    ("changes", "options", "reason", "new_key"),
    [
        ({"key_mode": None, "cert": None, "fits": None}, {}, "does not exist yet", True),
        ({"key_mode": None}, {}, "no private key", True),
        ({"cert": None}, {}, "no certificate", False),
        ({"cert": ""}, {}, "cannot be read", False),
        ({"fits": False}, {}, "do not belong together", True),
        ({"fits": False, "pending": ["cert"]}, {}, "was interrupted", False),
        ({"pending": ["key"]}, {}, "was interrupted", True),
        ({"fits": False, "pending": ["key", "cert"]}, {}, "was interrupted", True),
        ({}, {"force": True}, "docker_client_renew_force", True),
        ({}, {"key": "P-384"}, "its key is P-256, not P-384", True),
        ({}, {"name": "bob"}, "is for alice", False),
        ({}, {"renew_days": 101}, "it expires on", False),
    ],
)
def test_what_makes_an_identity_due(
    issued: dict[str, str], changes: dict[str, Any], options: dict[str, Any], reason: str, new_key: bool
) -> None:
    record = judge(whole(issued, **changes), issued["ca"], **options)
    assert any(reason in said for said in record["reasons"]), record["reasons"]
    assert record["new_key"] == new_key
    assert {"path": record["pending"], "state": "directory", "mode": "0700"} in record["repairs"]


def test_time_and_the_ca_make_it_due_too(issued: dict[str, str], identities: list[Any]) -> None:
    later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=101)
    assert any("expired" in said for said in judge(whole(issued), issued["ca"], now=later)["reasons"])
    other = identities[0].ca.read_text()
    # Trusted as well, but it does not sign.
    assert judge(whole(issued), issued["ca"] + other) | {"repairs": []} == judge(whole(issued), issued["ca"]) | {
        "ca_outdated": True
    }
    assert judge(whole(issued), other + issued["ca"])["reasons"] == ["it is not issued by the CA of the trust bundle"]
    assert judge(whole(issued), "")["reasons"] == ["there is no CA yet"]


def test_modes_are_repaired(issued: dict[str, str]) -> None:
    record = judge(whole(issued, folder="drwxr-xr-x", key_mode="-rw-r--r--"), issued["ca"])
    assert record["reasons"] == []
    assert [(repair["path"].rsplit("/", 1)[1], repair["mode"]) for repair in record["repairs"]] == [
        ("alice", "0700"),
        ("key.pem", "0600"),
    ]
