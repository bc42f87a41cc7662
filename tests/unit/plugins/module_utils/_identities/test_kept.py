"""An identity that something else keeps on the host: taken over when it is another one that opens engines."""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._identities import install, status
from ansible_collections.bulkhead.docker.plugins.module_utils._identities.layout import Layout
from helpers import death
from helpers.pki import CLIENT, SERVER, Authority

from .conftest import Issued


@pytest.fixture
def source(issued: Issued) -> status.Source:
    made = status.Source(issued.scratch / "kept.pem", issued.scratch / "kept.key")
    write(made, *issued.pair())
    return made


def write(source: status.Source, certificate: str, key: str) -> None:
    source.certificate.write_text(certificate, encoding="ascii")
    source.key.write_text(key, encoding="ascii")


def look(issued: Issued, source: status.Source, **rule: t.Any) -> tuple[list[str], list[str]]:
    found = status.status(issued.layout, issued.rule(**rule), source)
    assert found["new_key"] == bool(found["reasons"])
    return found["reasons"], found["findings"]


def take(layout: Layout, source: status.Source, bundle: str) -> list[dict[str, str]]:
    return install.present(layout, bundle, install.take(layout, source, False), False, False)


def test_another_pair_is_taken_over_once(issued: Issued, source: status.Source) -> None:
    assert look(issued, source) == ([f"{source.certificate} holds another one"], [])
    before = {path: path.read_bytes() for path in (source.certificate, source.key)}
    diff = take(issued.layout, source, issued.authority.pem)
    assert "PRIVATE" not in str(diff)
    assert look(issued, source) == ([], [])
    assert (issued.layout.folder / "key.pem").read_bytes() == before[source.key]
    assert {path: path.read_bytes() for path in before} == before
    # A certificate that was renewed for the same key is another one, too.
    key = source.key.read_text()
    assert status.status(issued.layout, issued.rule(key="P-384", renew_days=50), source)["reasons"] == []
    write(source, issued.pair()[0], key)
    reasons, findings = look(issued, source)
    assert (reasons, "does not belong to its key" in findings[0]) == ([], True)


def test_what_would_open_nothing_or_more_is_not_taken_over(issued: Issued, source: status.Source) -> None:
    certificate, key = issued.pair()
    other = Authority("other")
    of_another_ca = [pathlib.Path(path).read_text() for path in other.pair(issued.scratch, "alice", SERVER)]
    cases: list[tuple[str, str, str]] = [
        (*issued.pair("bob"), "it is for bob instead of alice"),
        (*of_another_ca, "it is not issued by the CA of the trust bundle; its extended key usage is not exactly"),
        (certificate, issued.pair()[1], "it does not belong to its key"),
        ("nonsense", key, "holds no PEM certificate"),
        (certificate, "nonsense", "the private key cannot be read"),
    ]
    for text, key_text, says in cases:
        write(source, text, key_text)
        reasons, (finding,) = look(issued, source)
        assert (reasons, says in finding) == ([], True), finding
    source.key.unlink()
    assert "cannot be read (it is not there); let whoever" in look(issued, source)[1][0]
    with pytest.raises(install.InstallError, match="cannot be read"):
        install.take(issued.layout, source, False)


def test_one_that_was_not_renewed_in_time_is_named_and_served(issued: Issued, source: status.Source) -> None:
    write(source, *issued.pair(days=20))
    take(issued.layout, source, issued.authority.pem)
    reasons, (finding,) = look(issued, source)
    assert (reasons, "was not renewed" in finding) == ([], True)


def test_a_run_that_is_killed_while_it_takes_one_over_is_ended_by_the_next(
    issued: Issued, source: status.Source, tmp_path: pathlib.Path
) -> None:
    def prepare(step: int) -> Layout:
        home = tmp_path / f"home-{step}"
        home.mkdir()
        return Layout(home, "alice")

    for layout in death.killed(prepare, lambda layout: take(layout, source, issued.authority.pem)):
        one = dataclasses.replace(issued, layout=layout)
        if look(one, source)[0]:
            take(layout, source, issued.authority.pem)
        assert look(one, source) == ([], [])
        assert (layout.folder / "key.pem").read_bytes() == source.key.read_bytes()


def test_whether_it_is_of_the_ca_that_signs_counts_for_both_copies(issued: Issued, source: status.Source) -> None:
    """What is used in place opens engines like what was taken over."""
    new = Authority("new", days=900)
    old = (source.certificate.read_text(), source.key.read_text())
    renewed = [pathlib.Path(path).read_text() for path in new.pair(issued.scratch, "alice", CLIENT)]
    rule = issued.rule(bundle=new.pem + issued.authority.pem)

    def follows() -> bool:
        return bool(status.status(issued.layout, rule, source)["issued_by_ca"])

    assert not follows()
    write(source, *renewed)
    assert not follows()
    take(issued.layout, source, rule.bundle)
    assert follows()
    write(source, *old)
    assert not follows()
    source.certificate.unlink()
    assert not follows()
    assert status.status(issued.layout, rule)["issued_by_ca"]
    assert not status.status(issued.layout, dataclasses.replace(rule, bundle=""))["issued_by_ca"]


def test_the_ca_of_a_certificate_that_no_run_issues_does_not_go_in_silence(
    issued: Issued, source: status.Source
) -> None:
    """A CA elsewhere has been followed by another one, which was trusted beside it before."""
    new = Authority("new", days=900)
    (issued.layout.folder / "ca.pem").write_text(new.pem + issued.authority.pem, encoding="ascii")

    def other_ca(rule: status.Rule, kept: bool) -> str:
        return str(status.status(issued.layout, rule, source if kept else None)["other_ca"])

    alone = issued.rule(bundle=new.pem)
    assert other_ca(alone, True).startswith("CN=ca (SHA-256 ")
    assert other_ca(alone, False) == ""
    assert other_ca(dataclasses.replace(alone, retired=issued.authority.pem), True) == ""
    assert other_ca(issued.rule(bundle=new.pem + issued.authority.pem), True) == ""
