"""What stands against restricted accounts is said before anything is changed."""

from __future__ import annotations

import base64
import contextlib
import types
import typing as t
from random import Random

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import accounts as _accounts
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import conflicts as _conflicts
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import files as _ssh_files
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import login as _login
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import sshd as _sshd
from helpers import ssh_engine
from helpers.ssh_engine import ED25519, OTHER, Engine, desired, give, user

REAL_SSHD = _sshd.Sshd  # the engine has a stand-in


def refused(engine: Engine, **options: t.Any) -> str:
    """The sentence; nothing of the host has changed."""
    before = engine.files()
    with pytest.raises((_sshd.SshdError, _accounts.AccountError)) as caught:
        give(**options)
    assert engine.files() == before
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Nonsense yes", "is broken already"),
        ("AllowUsers ops", "AllowUsers in FILE:1 keeps docker-alice out"),
        (
            "MaxAuthTries 2\nAllowUsers holu\nAuthorizedKeysFile .ssh/authorized_keys",
            "AllowUsers in FILE:2 keeps docker-alice out",
        ),
        ("AllowGroups ops", "AllowGroups in FILE:1 keeps the group docker-ssh out"),
        ("DenyUsers docker-*", "DenyUsers in FILE:1 keeps docker-alice out"),
        ("DenyGroups docker-*", "DenyGroups in FILE:1 keeps the group docker-ssh out"),
        ("AllowUsers docker-*", "keeps ops out, as whom Ansible is connected"),
        ("Port 2222", "sshd would move from port 22 to 2222"),
        ("PermitUserEnvironment yes", "FILE:1 sets PermitUserEnvironment"),
        ("RefuseConnection yes", "RefuseConnection in FILE:1 keeps docker-alice out"),
        ("Match User docker-*\n  ForceCommand none", "sshd would use 'ForceCommand none'"),
        ("Match all\n  PermitTTY yes", "because FILE:2 comes first"),
        ("Match Group docker-*\n  PermitTTY yes", "sshd would use 'PermitTTY yes'"),
        (
            "Match Address 203.0.113.0/24\n  ForceCommand internal-sftp",
            "for docker-alice from 203.0.113.1 to x port 22",
        ),
        (
            "Match Address 10.0.0.0/8,!10.0.0.0/24\n  ForceCommand internal-sftp",
            "for docker-alice from 10.128.0.1 to x port 22",
        ),
        ("Match Address 2001:DB8:*\n  ForceCommand internal-sftp", "FILE:1 has a Match line for which no example"),
        ("Match LocalPort 2222\n  ForceCommand internal-sftp", "for docker-alice from 192.0.2.9 to x port 2222"),
        ("Match User docker-*\n  ChrootDirectory /srv", "'ChrootDirectory /srv' and not 'none'"),
        ("Match User docker-*\n  SetEnv LD_PRELOAD=/x", "'SetEnv LD_PRELOAD=/x'"),
        (
            "Match User docker-*\n  AuthenticationMethods publickey,password",
            "'AuthenticationMethods publickey,password'",
        ),
        ("Match User docker-*\n  ChannelTimeout session=5m", "'ChannelTimeout session=5m'"),
        ("PubkeyAcceptedAlgorithms rsa-sha2-512", "accepts no ssh-ed25519 key (PubkeyAcceptedAlgorithms, FILE:1)"),
    ],
)
def test_other_parts_of_the_configuration_are_named(engine: Engine, text: str, sentence: str) -> None:
    """S9."""
    file = _sshd.DROP_IN.with_name("00-a.conf")
    file.write_text(f"{text}\n", encoding="utf-8")
    assert sentence.replace("FILE", str(file)) in refused(engine, max_sessions=7)


@pytest.mark.parametrize(
    "text",
    [
        "Match User root\n  PermitTTY yes",
        "Match Group wheel\n  PermitTTY yes",
        "Match Address 203.0.113.0/24 User ops\n  ForceCommand internal-sftp",
        "PermitTTY yes",
        "ChrootDirectory /srv",
        "SetEnv LD_PRELOAD=/x",
        "AllowUsers ops docker-alice@192.0.2.*",
        "PubkeyAcceptedAlgorithms ssh-*",
    ],
)
def test_what_does_no_harm_is_left_alone(engine: Engine, text: str) -> None:
    _sshd.DROP_IN.with_name("00-a.conf").write_text(f"{text}\n", encoding="utf-8")
    assert give().changed


def test_variables_are_looked_for_in_files_where_sshd_does_not_tell_them(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in OpenSSH 8.4."""
    settings = engine.sshd.settings

    def without_variables(*arguments: t.Any) -> dict[str, tuple[str, ...]]:
        return {keyword: value for keyword, value in settings(*arguments).items() if keyword != "setenv"}

    monkeypatch.setattr(engine.sshd, "settings", without_variables)
    file = _sshd.DROP_IN.with_name("00-a.conf")
    file.write_text("SetEnv A=1\nMatch User root\n  SetEnv A=2\n", encoding="utf-8")
    later = _sshd.DROP_IN.with_name("10-b.conf")
    later.write_text("Match User docker-*\n  SetEnv A=3\n", encoding="utf-8")
    give()
    for criteria in ("User docker-*", "Address 203.0.113.0/24", "Group docker-ssh", "all"):
        file.write_text(f"Match {criteria}\n  setenv LD_PRELOAD=/x\n", encoding="utf-8")
        with pytest.raises(_sshd.SshdError, match=f"the variables of {file}:2"):
            give()


def test_a_match_in_sshd_config_before_the_include_would_change_others(engine: Engine) -> None:
    text = _sshd.CONFIG.read_text(encoding="utf-8")
    _sshd.CONFIG.write_text(f"Match User root\n  PermitTTY no\n{text}", encoding="utf-8")
    del engine
    with pytest.raises(_sshd.SshdError):
        give()


def test_the_include_is_added_at_the_top_where_no_line_reads_the_drop_in(engine: Engine) -> None:
    _sshd.CONFIG.write_text("Port 22\nMatch User root\n  PermitTTY no\n", encoding="utf-8")
    give()
    assert _sshd.CONFIG.read_text(encoding="utf-8").startswith(_sshd.INCLUDE)
    assert engine.sshd.settings(_sshd.CONFIG, "docker-alice", _sshd.Peer())["permittty"] == ("no",)


def test_names_that_are_taken_are_refused(engine: Engine) -> None:
    assert "ops in docker_ssh_users exists on this host already" in refused_for(engine, user("ops"))


def refused_for(engine: Engine, *users: dict[str, t.Any], **options: t.Any) -> str:
    before = engine.files()
    with pytest.raises((_sshd.SshdError, _accounts.AccountError)) as caught:
        give(*users, **options)
    assert engine.files() == before
    return str(caught.value)


def test_certificates_need_algorithms_that_sshd_accepts(engine: Engine) -> None:
    guest = user("docker-guest", principals=["guest"], public_keys=[])
    file = _sshd.DROP_IN.with_name("00-a.conf")
    file.write_text("PubkeyAcceptedAlgorithms ssh-ed25519,rsa-sha2-512\n", encoding="utf-8")
    assert "accepts no certificate (" in refused_for(engine, guest, trusted_user_ca_keys=[OTHER])
    file.write_text("CASignatureAlgorithms rsa-sha2-512\n", encoding="utf-8")
    said = refused_for(engine, guest, trusted_user_ca_keys=[OTHER])
    assert "signed by the ssh-ed25519 key SHA256:" in said
    assert f"(CASignatureAlgorithms, {file}:1); use a CA with a key of another type, such as ssh-rsa" in said


def test_rsa_keys_have_to_be_long_enough(engine: Engine) -> None:
    key = rsa(1024)
    assert "has 1024 bits, and sshd on this host accepts none below 2048 (RequiredRSASize" in refused_for(
        engine, user("docker-alice", key)
    )
    assert give(user("docker-alice", rsa(2048))).changed


def rsa(bits: int) -> str:
    def field(data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + data

    number = (1 << (bits - 1) | 1).to_bytes(bits // 8 + 1, "big")
    return "ssh-rsa " + base64.b64encode(field(b"ssh-rsa") + field(b"\1\0\1") + field(number)).decode()


def test_a_second_sshd_that_would_let_accounts_in_is_named(engine: Engine) -> None:
    config = engine.root / "sshd_admin"
    engine.sshd.others = [_sshd.Server(4711, config, ())]
    config.write_text("Port 2222\n", encoding="utf-8")
    give()
    config.write_text("AuthorizedKeysCommand /usr/bin/keys %u\n", encoding="utf-8")
    with pytest.raises(
        _sshd.SshdError, match=r"a second sshd \(process 4711, .*sshd_admin\) would let docker-alice in"
    ):
        give()
    config.write_text("AuthorizedKeysCommand /usr/bin/keys %u\nDenyGroups docker-ssh\n", encoding="utf-8")
    assert not give().changed


def test_a_pam_rule_is_named_before_anything_is_changed_unless_sshd_does_not_use_pam(engine: Engine) -> None:
    """B26."""
    (engine.root / "pam.d/sshd").write_text("account required pam_succeed_if.so uid >= 1000\n", encoding="utf-8")
    said = refused(engine)
    assert f"PAM would keep docker-alice out: {engine.root}/pam.d/sshd:1 says 'pam_succeed_if.so uid >= 1000'" in said
    _sshd.DROP_IN.with_name("00-a.conf").write_text("UsePAM no\n", encoding="utf-8")
    assert give().changed


def test_the_helper_tells_real_settings_apart(engine: Engine) -> None:
    """The stand-in for sshd must not say the same of everybody."""
    give()
    settings = {
        name: ssh_engine.Sshd(engine).settings(_sshd.CONFIG, name, _sshd.Peer()) for name in ("ops", "docker-alice")
    }
    assert "forcecommand" not in settings["ops"]
    assert settings["docker-alice"]["forcecommand"] == (str(_accounts.GATE),)
    assert desired().users[0].keys[0].line == ED25519


TOLD = "\n".join(f"{keyword} {value}" for keyword, value in ssh_engine.DEFAULTS.items()) + "\nallowusers docker-*\n"


def mutated(text: str, random: Random) -> str:
    lines = text.splitlines()
    for _ in range(random.randint(1, 4)):
        number = random.randrange(len(lines))
        keyword, _, value = lines[number].partition(" ")
        lines[number] = random.choice(
            [
                "",
                keyword,
                f"{keyword} {value} {value}",
                f"{keyword} \u0663\u00b2",
                f"{keyword} -1",
                f"{keyword.upper()}={value}",
                f"{keyword} {value[: random.randint(0, 9)]}",
                f"{keyword} {chr(random.randint(0, 0x2FFF))}{value}",
                f"{keyword} [!*{value}",
            ]
        )
    return "\n".join(lines)


def test_whatever_sshd_tells_only_sentences_come_of_it(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two thousand answers of an sshd that is none, or a strange one."""
    random = Random(2000)
    real = object.__new__(REAL_SSHD)
    real.binary, real.options, real.others = "/usr/sbin/sshd", (), [_sshd.Server(1, _sshd.CONFIG, ())]
    guest = user("docker-guest", rsa(2048), principals=["guest"])
    wanted = desired(guest, trusted_user_ca_keys=[ED25519])
    with _sshd.private_folder() as folder:
        paths = _sshd.write_configurations(folder, "", "Match User docker-guest\n    PermitTTY no\n")
        peers = [_sshd.Peer()]
        for _ in range(2000):
            text = mutated(TOLD, random)
            answer = types.SimpleNamespace(returncode=0, stdout=text, stderr="")
            monkeypatch.setattr(_sshd, "_run", lambda *_, answer=answer: answer)
            with contextlib.suppress(_sshd.SshdError):
                real.port_and_host_keys(None)
                settings = real.settings(paths.wanted, "root", peers[0])
                _ssh_files.Limits("500:30:1000", ("192.0.2.0/24",), "192.0.2.1").lines(settings, text)
                _login.door(settings, None)
                _conflicts.refuse_accounts(real, paths, wanted.users, wanted.ca_keys, peers)
                _conflicts.refuse_side_effects(real, paths, engine.connection)
