"""Two operators use one CA at the same time, each in a process of its own."""

from __future__ import annotations

import collections
import functools
import json
import typing as t
from pathlib import Path

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import (
    create,
    inspect,
    passphrase,
    removal,
    revocation,
    rotation,
    signing,
)
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
from helpers import authority, death

NEW = create.Wanted("bulkhead.docker CA", "P-256", 3072, 3650)
ROUNDS = 40
REQUEST = authority.request()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ca.Directory:
    made = ca.Directory(tmp_path / "ca")
    create.ensure(made, "", NEW)
    # Who waits tries again at once, so that both get their turn often.
    monkeypatch.setattr(ca, "lock", functools.partial(ca.lock, sleep=lambda _: None))
    return made


def sign(home: ca.Directory, operator: str, told: Path) -> None:
    """Note what was handed out, one certificate for each of many calls, and one for a name that gets revoked."""
    answers: list[dict[str, t.Any]] = []
    for number in range(ROUNDS):
        requests = [
            signing.Request(name, "client", (), 5, REQUEST) for name in (f"{operator}{number}", f"client{number}")
        ]
        answers += [answer.report() for answer in signing.sign(home, "", requests)]
        told.write_text(json.dumps(answers))


def assert_recorded(home: ca.Directory, *told: Path) -> list[dict[str, t.Any]]:
    """What was handed out is in the record, and no serial number was given twice. The answers come back."""
    state = inspect.gather(home, "")
    assert state["problems"] == []
    assert state["complete"]
    recorded = collections.Counter(one["serial"] for one in state["issued"])
    assert set(recorded.values()) <= {1}
    answers = [answer for path in told for answer in json.loads(path.read_text())]
    signed = [answer["serial"] for answer in answers if answer["serial"]]
    assert sorted(signed) == sorted(recorded)
    return answers


def test_two_who_sign_record_all_of_it(home: ca.Directory, tmp_path: Path) -> None:
    end = death.apart(lambda: sign(home, "other", tmp_path / "other"))
    sign(home, "own", tmp_path / "own")
    end()
    assert len(assert_recorded(home, tmp_path / "other", tmp_path / "own")) == 4 * ROUNDS


def test_a_revocation_and_a_rotation_do_not_get_lost_beside_signing(home: ca.Directory, tmp_path: Path) -> None:
    end = death.apart(lambda: sign(home, "other", tmp_path / "other"))
    names = [f"client{number}" for number in range(ROUNDS)]
    first = home.load_certificate().pem
    for number, name in enumerate(names):
        revocation.revoke(home, "", name)
        if number == ROUNDS // 4:
            create.ensure_successor(home, "", NEW)
            rotation.advance(home, "trust")
        if number == ROUNDS // 2:
            rotation.advance(home, "reissue")
    end()
    answers = assert_recorded(home, tmp_path / "other")
    assert home.marks() == sorted(names)
    assert home.load_certificate().pem != first == home.previous.load_certificate().pem
    # Whatever a revoked client got before its mark was there is on a list, that of the CA which has signed it.
    listed = {
        entry.serial_number
        for place in (home, home.previous)
        for entry in inspect.revocation_list(place) or ()
        if entry
    }
    got = {int(answer["serial"], 16) for answer in answers if answer["name"] in names and answer["serial"]}
    assert got == listed
    refused = [answer for answer in answers if not answer["serial"]]
    assert {answer["name"] for answer in refused} <= set(names)


def test_two_who_rotate_make_one_successor_after_the_other(home: ca.Directory, tmp_path: Path) -> None:
    """Neither loses a key, whatever the other one does between two of its calls."""

    def rotate(log: Path) -> None:
        made = []
        for step in [step for _ in range(8) for step in ("make", *rotation.ORDER[1:])]:
            try:
                if step == "make":
                    create.ensure_successor(home, "", NEW)
                else:
                    rotation.advance(home, step)
            except ca.CaError as error:
                made.append(str(error))
        log.write_text("\n".join(made))

    end = death.apart(lambda: rotate(tmp_path / "other"))
    rotate(tmp_path / "own")
    end()
    said = (tmp_path / "other").read_text() + (tmp_path / "own").read_text()
    assert "not in the trust bundle" not in said
    assert "is not a copy of" not in said
    for step in rotation.ORDER[rotation.ORDER.index(home.phase()) + 1 :] if home.phase() != "none" else []:
        rotation.advance(home, step)
    state = inspect.gather(home, "")
    assert (state["complete"], state["key"]["matches"], state["problems"]) == (True, True, [])


def test_a_passphrase_that_changes_beside_signing_costs_nothing(home: ca.Directory, tmp_path: Path) -> None:
    def change() -> None:
        for _ in range(ROUNDS):
            passphrase.change(home, "another secret", "")
            passphrase.change(home, "", "another secret")

    end = death.apart(change)
    answers: list[dict[str, t.Any]] = []
    for number in range(ROUNDS):
        for secret in ("", "another secret"):
            request = signing.Request(f"own{number}", "client", (), 5, REQUEST)
            try:
                answers += [one.report() for one in signing.sign(home, secret, [request])]
            except ca.CaError as error:
                assert "encrypted" in str(error)
    end()
    (tmp_path / "own").write_text(json.dumps(answers))
    assert assert_recorded(home, tmp_path / "own")


def test_who_signs_while_the_ca_is_removed_is_refused(home: ca.Directory) -> None:
    def use() -> None:
        with pytest.raises(ca.CaError, match="There is no CA in"):
            while True:
                signing.sign(home, "", [signing.Request("own", "client", (), 5, REQUEST)])

    end = death.apart(use)
    while not list(home.issued.iterdir()):
        pass
    removal.remove(home)
    end()
    assert not home.path.exists() or [path.name for path in home.path.iterdir()] == [".lock"]
