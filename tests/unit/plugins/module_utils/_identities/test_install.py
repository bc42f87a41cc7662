"""An identity's files are put into place, and a run that is killed at any step is ended by the next one."""

from __future__ import annotations

import os
import pathlib
import stat
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._identities import install, removal, status
from ansible_collections.bulkhead.docker.plugins.module_utils._identities.layout import Layout
from helpers.pki import Authority

from .conftest import Issued


def content(root: pathlib.Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(root)): (stat.S_IMODE(path.stat().st_mode), path.read_bytes() if path.is_file() else b"")
        for path in root.rglob("*")
    }


def test_a_fresh_identity_does_not_depend_on_the_umask(issued: Issued, tmp_path: pathlib.Path) -> None:
    layout, (cert, key) = Layout(tmp_path / "fresh", "alice"), issued.pair()
    layout.home.mkdir()
    bundle = issued.authority.pem
    foreseen = install.present(layout, bundle, "", True, check=True)
    assert content(layout.home) == {}
    before = os.umask(0o077)
    try:
        assert install.present(layout, bundle, "", True, check=False) == foreseen
        (layout.pending / "key.pem").write_text(key, encoding="ascii")
        done = install.present(layout, bundle, cert, False, check=False)
    finally:
        os.umask(before)
    assert "PRIVATE" not in str([foreseen, done])
    assert "subject: CN=alice" in done[0]["after"]
    assert content(layout.home) == {
        ".bulkhead": (0o700, b""),
        ".bulkhead/identities": (0o700, b""),
        ".bulkhead/pending": (0o700, b""),
        ".bulkhead/identities/alice": (0o700, b""),
        ".bulkhead/identities/alice/ca.pem": (0o644, bundle.encode()),
        ".bulkhead/identities/alice/cert.pem": (0o644, cert.encode()),
        ".bulkhead/identities/alice/key.pem": (0o600, key.encode()),
    }
    assert install.present(layout, bundle, cert, False, check=False) == []
    assert status.status(layout, issued.rule())["reasons"] == []


def test_what_is_right_stays_and_modes_are_corrected(issued: Issued) -> None:
    folder = issued.layout.folder
    assert install.present(issued.layout, issued.authority.pem, "", False, check=False) == []
    folder.chmod(0o755)
    (folder / "key.pem").chmod(0o644)
    (change, other) = install.present(issued.layout, issued.authority.pem, "", False, check=False)
    assert (change["before"], change["after"]) == ("mode 0755\n", "mode 0700\n")
    assert (other["before"], other["after"]) == ("mode 0644\n", "mode 0600\n")
    assert status.status(issued.layout, issued.rule())["repairs"] == []


def test_a_certificate_of_the_key_in_use(issued: Issued) -> None:
    folder = issued.layout.folder
    old, key = ((folder / name).read_text() for name in ("cert.pem", "key.pem"))
    (folder / "cert.pem").unlink()
    install.present(issued.layout, "", old, False, check=False)
    assert [(folder / name).read_text() for name in ("cert.pem", "key.pem")] == [old, key]


def test_a_certificate_of_no_key_here_is_refused(issued: Issued) -> None:
    before = content(issued.layout.home)
    with pytest.raises(install.InstallError, match="is for none of the keys"):
        install.present(issued.layout, "", issued.pair()[0], False, check=False)
    assert content(issued.layout.home) == before


class Killed(BaseException):
    """Nothing in the code under test may catch it."""


def test_killed_anywhere(issued: Issued, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Authority("next", days=900)
    cert, key = Issued(other, issued.layout, issued.scratch).pair()
    bundle, rule = other.pem + issued.authority.pem, issued.rule(other.pem + issued.authority.pem)
    replace = pathlib.Path.replace
    for steps in range(9):
        issued.layout.pending.mkdir(exist_ok=True)
        (issued.layout.pending / "key.pem").write_text(key, encoding="ascii")
        left = [steps]

        def counting(path: pathlib.Path, target: t.Any, left: list[int] = left) -> t.Any:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return replace(path, target)

        monkeypatch.setattr(pathlib.Path, "replace", counting)
        try:
            install.present(issued.layout, bundle, cert, False, check=False)
        except Killed:
            ended = False
        else:
            ended = True
        monkeypatch.undo()
        found = status.status(issued.layout, rule)
        if ended:
            assert found["reasons"] == []
            return
        # What is in use is never a certificate without its key, but for a moment that the next run tells and ends.
        assert found["reasons"]
        if "its key and its certificate do not belong together" in found["reasons"]:
            pytest.fail(str(found))
        install.present(issued.layout, bundle, cert, False, check=False)
        assert status.status(issued.layout, rule)["reasons"] == []
        _reset(issued)
    pytest.fail("it never came to an end")


def _reset(issued: Issued) -> None:
    cert, key = issued.pair()
    for name, text in {"cert.pem": cert, "key.pem": key, "ca.pem": issued.authority.pem}.items():
        (issued.layout.folder / name).write_text(text, encoding="ascii")


def test_an_identity_goes_and_the_others_stay(issued: Issued) -> None:
    other = Layout(issued.layout.home, "bob")
    install.present(other, issued.authority.pem, "", False, check=False)
    before = content(issued.layout.home)
    foreseen = removal.absent(issued.layout, check=True)
    assert content(issued.layout.home) == before
    assert removal.absent(issued.layout, check=False) == foreseen
    assert "PRIVATE" not in str(foreseen)
    assert [path.name for path in (issued.layout.home / ".bulkhead").iterdir()] == ["identities"]
    assert removal.absent(issued.layout, check=False) == []
    removal.absent(other, check=False)
    assert list(issued.layout.home.iterdir()) == []


def test_a_link_goes_and_what_it_leads_to_stays(issued: Issued, tmp_path: pathlib.Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    issued.layout.folder.rename(elsewhere)
    issued.layout.folder.symlink_to(elsewhere)
    removal.absent(issued.layout, check=False)
    assert not issued.layout.folder.is_symlink()
    assert (elsewhere / "key.pem").exists()
