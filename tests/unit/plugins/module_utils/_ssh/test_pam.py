"""PAM's account rules: what they are known to refuse, and what only a login can tell."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import pam as _pam

DEBIAN = """
# Disallow non-root logins when /etc/nologin exists.
account    required     pam_nologin.so
# account  required     pam_access.so
@include common-account
session [success=ok ignore=ignore module_unknown=ignore default=bad]        pam_selinux.so close
"""
DEBIAN_COMMON = """
account [success=1 new_authtok_reqd=done default=ignore]        pam_unix.so
account requisite                       pam_deny.so
account required                        pam_permit.so
"""
RED_HAT = """
auth       substack     password-auth
account    required     pam_sepermit.so
account    required     pam_nologin.so
account    include      password-auth
"""
RED_HAT_COMMON = """
account     required                                     pam_unix.so
account     sufficient                                   pam_localuser.so
account     sufficient                                   pam_usertype.so issystem
account     required                                     pam_succeed_if.so uid >= 5000
account     required                                     pam_permit.so
"""


@pytest.fixture
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setattr(_pam, "FOLDERS", (tmp_path, tmp_path / "vendor"))
    monkeypatch.setattr(_pam, "ACCESS", tmp_path / "access.conf")
    monkeypatch.setattr(_pam, "NO_LOGIN", (tmp_path / "nologin",))
    return tmp_path


def refusal(folder: pathlib.Path, text: str, **others: str) -> str:
    (folder / "sshd").write_text(text, encoding="utf-8")
    for name, content in others.items():
        (folder / name.replace("_", "-")).write_text(content, encoding="utf-8")
    return _pam.refusal("docker-alice", "docker-ssh")


def test_what_distributions_ship_refuses_nobody(folder: pathlib.Path) -> None:
    assert refusal(folder, DEBIAN, common_account=DEBIAN_COMMON) == ""
    assert refusal(folder, RED_HAT, password_auth=RED_HAT_COMMON) == "", "it ends at a rule that may be sufficient"
    (folder / "sshd").unlink()
    assert _pam.refusal("docker-alice", "docker-ssh") == ""


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("account required pam_succeed_if.so uid >= 1000", "sshd:1 says 'pam_succeed_if.so uid >= 1000'"),
        ("account requisite pam_succeed_if.so quiet uid ge 1000", "system accounts in the group docker-ssh"),
        (
            "-account required /lib/security/pam_succeed_if.so uid > 999",
            "pam_succeed_if.so quiet user ingroup docker-ssh",
        ),
        ("account [success=ok default=die] pam_succeed_if.so user ingroup staff", "user ingroup staff"),
        ("account required pam_succeed_if.so user in root:ops", "user in root:ops"),
        ("account required \\\n pam_succeed_if.so uid >= 1000", "uid >= 1000"),
    ],
)
def test_rules_that_refuse_system_accounts_are_named(folder: pathlib.Path, rule: str, sentence: str) -> None:
    """B26."""
    said = refusal(folder, f"{rule}\n{DEBIAN}", common_account=DEBIAN_COMMON)
    assert said.startswith("PAM would keep docker-alice out: ")
    assert sentence in said


@pytest.mark.parametrize(
    "rule",
    [
        "account required pam_succeed_if.so uid >= 500 quiet",
        "account sufficient pam_succeed_if.so uid >= 1000",
        "account required pam_succeed_if.so user ingroup docker-ssh",
        "account required pam_succeed_if.so user in root:docker-alice",
        "auth required pam_succeed_if.so uid >= 1000",
        "account [success=1 default=ignore] pam_succeed_if.so quiet user ingroup docker-ssh\n"
        "account required pam_succeed_if.so uid >= 1000",
    ],
)
def test_other_rules_are_left_to_a_login(folder: pathlib.Path, rule: str) -> None:
    assert refusal(folder, rule) == ""


@pytest.mark.parametrize(
    ("lines", "refused"),
    [
        ("+:root ops:ALL\n-:ALL:ALL", True),
        ("-:ALL EXCEPT root ops:ALL", True),
        ("- : (docker-ssh) : ALL", True),
        ("-:docker-alice:ALL", True),
        ("+:ALL:192.0.2.0/24\n-:ALL:ALL", False),
        ("+:(docker-ssh):ALL\n-:ALL:ALL", False),
        ("-:ALL EXCEPT docker-alice:ALL", False),
        ("-:ALL:LOCAL", False),
        ("# -:ALL:ALL", False),
        ("", False),
    ],
)
def test_pam_access_counts_the_first_line_for_the_account(folder: pathlib.Path, lines: str, refused: bool) -> None:
    """B26."""
    said = refusal(folder, "account required pam_access.so\n", access_conf="")
    (folder / "access.conf").write_text(f"{lines}\n", encoding="utf-8")
    said = _pam.refusal("docker-alice", "docker-ssh")
    assert bool(said) == refused
    if refused:
        assert "put '+:(docker-ssh):ALL' before that line" in said


def test_pam_access_may_have_a_file_of_its_own(folder: pathlib.Path) -> None:
    (folder / "own.conf").write_text("-|ALL|ALL\n", encoding="utf-8")
    rule = f"account required pam_access.so accessfile={folder}/own.conf fieldsep=|\n"
    assert f"{folder}/own.conf:1 says '-|ALL|ALL'" in refusal(folder, rule)


def test_a_host_that_lets_nobody_in_says_so(folder: pathlib.Path) -> None:
    (folder / "nologin").touch()
    assert "nologin exists, so that nobody but root may log in" in refusal(folder, DEBIAN, common_account=DEBIAN_COMMON)


def test_files_that_include_each_other_come_to_an_end(folder: pathlib.Path) -> None:
    assert refusal(folder, "@include sshd\n") == ""
