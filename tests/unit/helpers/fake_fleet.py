"""A fleet without a host: engines and clients that answer as they are told, and a real CA on the control node.

Clients use TLS and SSH. The client host build1 has identities of other OS users beside that of the connecting user.

Everything is below one folder: ``home`` is the control node's, ``hosts/NAME`` is what stands in for a host.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import yaml
from ansible_collections.bulkhead.docker.plugins.plugin_utils import answers
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID
from helpers import authority
from helpers.pki import Authority

ROOT = Path(__file__).parents[3]
BYTECODE = ROOT / ".cache/bytecode"
PROGRAM = Path(__file__).parent / "fake_host.py"
SUDO = Path(__file__).parent / "fake_sudo.sh"
PASSPHRASE = "planted passphrase"
ENGINES, CLIENTS, USERS = ("web1", "web2"), ("ops1", "build1"), ("jenkins",)
_EMPTY: dict[str, t.Any] = {"str": "", "int": 0, "float": 0, "bool": False, "list": [], "dict": {}, "path": ""}
_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", re.S)


@dataclasses.dataclass(frozen=True)
class Issued:
    """What the CA has put into a certificate."""

    name: str
    usages: tuple[str, ...]
    names: tuple[str, ...]
    days: int
    authority: bool


@dataclasses.dataclass(frozen=True)
class Run:
    """What is left of a run of a playbook."""

    failed: bool
    output: str
    asked: dict[str, list[str]]
    issued: list[Issued]
    files: dict[str, str]
    created: list[str]
    report: dict[str, t.Any]

    def rows(self, *without: str) -> list[dict[str, t.Any]]:
        return [row for row in self.report.get("rows", []) if row["host"] not in without]

    def problems(self, host: str) -> list[str]:
        return [finding for row in self.report.get("rows", []) if row["host"] == host for finding in row["findings"]]


def answers_of_modules() -> dict[str, t.Any]:
    """For each module of the collection, by its documentation, an answer with everything that it always gives."""
    found = {}
    for path in sorted((ROOT / "plugins/modules").glob("*.py")):
        returns = answers.documented(path)
        found[path.stem] = {
            key: _empty(entry) for key, entry in returns.items() if str(entry.get("returned")) in ("success", "always")
        }
    return found


def _empty(entry: t.Mapping[str, t.Any]) -> t.Any:
    if entry["type"] == "dict":
        return {key: _empty(inner) for key, inner in (entry.get("contains") or {}).items()}
    return _EMPTY[entry["type"]]


def certificate_request(*names: str, foreign: bool = False) -> str:
    """A request; one that is ``foreign`` asks for whatever a CA could give away."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if foreign:
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), False)
        builder = builder.add_extension(x509.BasicConstraints(True, None), True)
    signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


class Fleet:
    """Two engines, two client hosts of which the first verifies, and the CA on the control node, with a passphrase."""

    def __init__(self, root: Path, users: t.Sequence[str] = USERS, passphrase: str = PASSPHRASE) -> None:
        self.root, self.users, self.passphrase = root, users, passphrase
        self.further: dict[str, str] = {}  # second identities on build1, and their OS users
        self.variables: dict[str, dict[str, t.Any]] = {}  # by host, what the inventory says beside the rest
        self.hosts = (*ENGINES, *CLIENTS, *(f"{user}@build1" for user in users))

    @classmethod
    def make(cls, root: Path, users: t.Sequence[str] = USERS, passphrase: str = PASSPHRASE) -> Fleet:
        hosts = root / "hosts"
        hosts.mkdir(parents=True)
        (root / "home").mkdir()
        ca = authority.make(root / "home/.bulkhead/ca", Authority("bulkhead.docker CA", days=3000), passphrase)
        ca.chmod(0o700)
        (hosts / "answers.json").write_text(json.dumps(answers_of_modules()), encoding="utf-8")
        (hosts / "request.pem").write_text(certificate_request("whoever"), encoding="ascii")
        wanted = certificate_request("web2", "*.example.com", foreign=True)
        (hosts / "foreign.pem").write_text(wanted, encoding="ascii")
        fleet = cls(root, users, passphrase)
        fleet.prepare()
        return fleet

    def copy(self, to: Path) -> Fleet:
        shutil.copytree(self.root, to, symlinks=True)
        return Fleet(to, self.users, self.passphrase)

    def play(
        self,
        playbook: str,
        liars: t.Mapping[str, str] | None = None,
        cache: Path | None = None,
        options: t.Sequence[str] = (),
        inventory: Path | None = None,
        environment: t.Mapping[str, str] | None = None,
        **extra: t.Any,
    ) -> Run:
        """Run a playbook; ``liars`` are hosts with the way in which they lie, ``extra`` extra variables.

        Hosts are the inventory's, and USER@HOST for an OS user. One that is ``unreachable`` does not answer at all.
        ``cache`` is a folder of facts from earlier runs, ``options`` are ansible-playbook's. With an ``inventory`` of
        its own, such as a slice, a run leaves what other runs at the same time were told.
        """
        if not inventory:
            self.prepare(liars)
        source = inventory or self._inventory()
        report = self.root / f"report-{source.stem}.json"
        report.unlink(missing_ok=True)
        BYTECODE.mkdir(parents=True, exist_ok=True)
        values = json.dumps({"docker_report_path": str(report), **extra})
        done = subprocess.run(
            [
                *(Path(sys.executable).parent / "ansible-playbook", "-i", source),
                *(f"bulkhead.docker.{playbook}", "-e", values, *options),
            ],
            cwd=self.root,
            env={"ANSIBLE_HOME": str(ROOT / ".ansible")}
            | os.environ
            | {
                "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible/collections"),
                "ANSIBLE_LOCALHOST_WARNING": "false",
                "ANSIBLE_NOCOLOR": "true",
                "ANSIBLE_PIPELINING": "true",
                "ANSIBLE_SHOW_CUSTOM_STATS": "true",
                "HOME": str(self.root / "home"),
                "PYTHONPATH": str(ROOT / "tests/unit/helpers/bytecode"),
                "TEST_BYTECODE": str(BYTECODE),
                **(environment or {}),
                **(
                    {"ANSIBLE_CACHE_PLUGIN": "jsonfile", "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(cache)} if cache else {}
                ),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        self._assert_kept(done.stdout + done.stderr)
        return Run(
            failed=done.returncode != 0,
            output=done.stdout + done.stderr,
            asked={name: self._asked(name) for name in self.hosts},
            issued=sorted(self._issued(), key=repr),
            files=self.files(),
            created=[str(path) for path in self.root.rglob("PWNED")],
            report=json.loads(report.read_text(encoding="utf-8")) if report.exists() else {},
        )

    def holds(self, name: str) -> dict[str, t.Any]:
        """What a host, or an OS user of it, keeps of what it was told."""
        file = self.root / "hosts" / name / "state.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}

    def prepare(self, liars: t.Mapping[str, str] | None = None) -> None:
        for name in self.hosts:
            self._host(name, (liars or {}).get(name, "honest"))

    def _host(self, name: str, kind: str) -> None:
        folder = self.root / "hosts" / name
        folder.mkdir(exist_ok=True)
        (folder / "kind").write_text(kind, encoding="ascii")
        (folder / "asked.jsonl").unlink(missing_ok=True)
        interpreter = folder / "python"
        interpreter.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {PROGRAM} {folder} "$@"\n', encoding="ascii")
        interpreter.chmod(0o755)

    def _inventory(self) -> Path:
        inventory = self.root / "inventory.yml"
        inventory.write_text(yaml.safe_dump(self.content(), sort_keys=False), encoding="utf-8")
        return inventory

    def content(self) -> dict[str, t.Any]:
        """The inventory, in the form of YAML files."""
        hosts = self.root / "hosts"
        addresses = dict(zip((*ENGINES, *CLIENTS), (f"192.0.2.{number}" for number in range(1, 9))))

        def host(name: str) -> dict[str, t.Any]:
            found = {"ansible_host": addresses[name], "ansible_python_interpreter": str(hosts / name / "python")}
            found.update(self.variables.get(name, {}))
            if (hosts / name / "kind").read_text(encoding="ascii") == "unreachable":
                nobody = {"ansible_port": 1, "ansible_ssh_common_args": "-F none -o HostName=127.0.0.1"}
                return {**found, "ansible_connection": "ssh", **nobody}
            return found

        def members(names: t.Iterable[str]) -> dict[str, t.Any]:
            return {name: host(name) for name in names}

        # Without become: the programs that stand in for hosts run as whoever runs the tests. OS users have their own.
        fleet = {"ansible_connection": "local", "ansible_become": False, "ansible_become_exe": str(SUDO)}
        clients = members(CLIENTS)
        identities = [
            {"name": "build1"},
            *({"name": user, "user": user} for user in self.users),
            *({"name": name, "user": user} for name, user in self.further.items()),
        ]
        clients["build1"].setdefault("docker_client_identities", identities)
        ca_host = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "docker_ca_passphrase": self.passphrase,
        }
        return {
            **({"ca_hosts": {"hosts": {"localhost": ca_host}}} if self.passphrase else {}),
            "docker_engines": {"hosts": members(ENGINES), "vars": {**fleet, "docker_engine_serial": 1}},
            "docker_clients": {
                "hosts": clients,
                "vars": {
                    **fleet,
                    "docker_client_identities": [{"name": "{{ inventory_hostname }}"}],
                    "docker_client_transports": ["tls", "ssh"],
                },
            },
        }

    def _assert_kept(self, output: str) -> None:
        """The passphrase is in nothing that is printed, that a host is asked or that a run leaves behind."""
        if self.passphrase:
            assert self.passphrase not in output
            left = [path for path in self.root.rglob("*") if path.is_file() and path.name != "inventory.yml"]
            assert [path for path in left if self.passphrase.encode() in path.read_bytes()] == []

    def _asked(self, name: str) -> list[str]:
        """The modules that a host was asked, with their options; certificates are called by their order in the run."""
        file = self.root / "hosts" / name / "asked.jsonl"
        if not file.exists():
            return []
        seen: dict[str, int] = {}
        number = functools.partial(_numbered, seen)
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        return [f"{module} {_PEM.sub(number, json.dumps(options, sort_keys=True))}" for module, options in lines]

    def _issued(self) -> t.Iterator[Issued]:
        for path in (self.root / "home").rglob("issued/*.pem"):
            content = path.read_bytes()
            if content:  # or a test has damaged it
                yield _described(x509.load_pem_x509_certificate(content))

    def files(self) -> dict[str, str]:
        """The control node's files with their modes, without what differs from run to run."""
        home = self.root / "home"
        return {
            re.sub(r"\d{8}T\d+Z", "TIME", str(path.relative_to(home))): oct(path.lstat().st_mode)
            for path in sorted(home.rglob("*"))
            if ".ansible" not in path.relative_to(home).parts
        }


def _numbered(seen: dict[str, int], found: re.Match[str]) -> str:
    return f"<{found.group(1)} {seen.setdefault(found.group(0), len(seen) + 1)}>"


def _described(certificate: x509.Certificate) -> Issued:
    extensions = {extension.oid: extension.value for extension in certificate.extensions}
    names = extensions.get(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    usages = t.cast("x509.ExtendedKeyUsage", extensions[ExtensionOID.EXTENDED_KEY_USAGE])
    constraints = t.cast("x509.BasicConstraints | None", extensions.get(ExtensionOID.BASIC_CONSTRAINTS))
    lasts = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return Issued(
        name=certificate.subject.rfc4514_string(),
        usages=tuple(usage._name for usage in usages),
        names=tuple(str(name.value) for name in t.cast("t.Iterable[t.Any]", names or ())),
        days=lasts.days,
        authority=bool(constraints and constraints.ca),
    )
