"""One engine of every kind, asked and changed side by side by docker_daemon_config itself."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
import http.client
import json
import os
import pathlib
import re
import ssl
import subprocess
import typing as t

import testinfra
import yaml
from authority import Authority, key_pem, new_key
from cryptography.hazmat.primitives import serialization

LAB = pathlib.Path(__file__).parents[3] / ".lab" / os.environ.get("MOLECULE_SCENARIO_NAME", "transaction")
INVENTORY = LAB / "inventory.yml"
MODULE = "bulkhead.docker.docker_daemon_config"


def sudo(host: t.Any, script: str) -> str:
    with host.sudo():
        return str(host.check_output("sh -c %s", script))


@dataclasses.dataclass(frozen=True)
class Pair:
    certificate: str
    key: str

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.certificate)).hexdigest()


class Fleet:
    """The lab's engines, and what the last change of them showed."""

    diff: list[str]
    warnings: str

    def __init__(self, only: t.Sequence[str] = ()) -> None:
        hosts = yaml.safe_load(INVENTORY.read_text(encoding="utf-8"))["lab"]["hosts"]
        self.address = {name: values["ansible_host"] for name, values in hosts.items()}
        wanted = os.environ.get("LAB_HOSTS", "").split() or only or list(hosts)  # LAB_HOSTS is for work on a part of it
        self.hosts = {name: testinfra.get_host(f"ansible://{name}?ansible_inventory={INVENTORY}") for name in wanted}
        self.systemd = [name for name in self.hosts if not name.startswith("s")]
        self.ca = (LAB / "pki" / "ca.pem").read_text(encoding="ascii")
        self.authority = Authority("unused")
        self.authority.key = serialization.load_pem_private_key((LAB / "pki" / "ca-key.pem").read_bytes(), None)
        self.authority.name = Authority("lab of engines").name

    def each(self, work: t.Callable[[str], t.Any], only: t.Iterable[str] | None = None) -> dict[str, t.Any]:
        names = list(self.hosts if only is None else only)
        with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
            return dict(zip(names, pool.map(work, names)))

    def sudo(self, script: str, only: t.Iterable[str] | None = None) -> dict[str, str]:
        return self.each(lambda name: sudo(self.hosts[name], script), only)

    def look(self, only: t.Iterable[str] | None = None) -> dict[str, dict[str, t.Any]]:
        return {name: json.loads(text) for name, text in self.sudo("lab-look", only).items()}

    def issue(self, only: t.Iterable[str] | None = None, **how: t.Any) -> dict[str, Pair]:
        """A new key, brought to each engine, and its certificate."""
        by = how.pop("by", self.authority)
        pairs = {}
        for name in self.hosts if only is None else only:
            key = new_key()
            pairs[name] = Pair(by.certificate([name, self.address[name]], key, **how), key_pem(key))
        self.each(lambda name: sudo(self.hosts[name], f"umask 077; echo '{pairs[name].key}' >/root/new-key.pem"), pairs)
        return pairs

    def command(self, only: t.Iterable[str] | None, check: bool, options: t.Mapping[str, t.Any]) -> list[str]:
        limit = ",".join(self.hosts if only is None else only)
        command = ["ansible", limit, "-i", str(INVENTORY), "-b", "-m", MODULE, "-a", json.dumps(options), "--diff"]
        return [*command, "--check"] if check else command

    def apply(
        self,
        pairs: t.Mapping[str, Pair] | None = None,
        only: t.Iterable[str] | None = None,
        check: bool = False,
        **options: t.Any,
    ) -> dict[str, dict[str, t.Any]]:
        """The module's result of each engine; without ``pairs``, with the certificate that is installed."""
        arguments: dict[str, t.Any] = {"ca_certificate": self.ca, **options}
        extra: dict[str, t.Any] = {}
        if pairs:
            extra = {"lab_certificates": {name: pair.certificate for name, pair in pairs.items()}}
            arguments["server_certificate"] = "{{ lab_certificates[inventory_hostname] }}"
            arguments.setdefault("private_key_path", "/root/new-key.pem")
            arguments.setdefault("names", ["{{ inventory_hostname }}", "{{ ansible_host }}"])
        command = [*self.command(only, check, arguments), "-e", json.dumps(extra)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
        self.diff = sorted(line for line in done.stdout.splitlines() if line.startswith(("+", "-", "@")))
        # ansible-core 2.18 breaks its lines, behind hyphens, too.
        self.warnings = " ".join(re.sub(r"(?<=\w-)\n", "", done.stderr).split())
        results = {}
        decoder = json.JSONDecoder()
        for match in re.finditer(r"^(\S+) \| (\w+)!? => (?=\{)", done.stdout, re.MULTILINE):
            results[match[1]] = decoder.raw_decode(done.stdout, match.end())[0] | {
                "failed": match[2] in ("FAILED", "UNREACHABLE")
            }
        assert set(results) == set(self.hosts if only is None else only), done.stdout + done.stderr
        return results

    def serves(self, name: str, port: int = 2376) -> str:
        """The fingerprint of the certificate with which an engine answers the lab's client."""
        context = ssl.create_default_context(cadata=self.ca)
        context.check_hostname = False
        context.load_cert_chain(LAB / "pki" / "client.pem", LAB / "pki" / "client-key.pem")
        connection = http.client.HTTPSConnection(self.address[name], port, timeout=60, context=context)
        connection.request("GET", "/_ping")
        assert connection.getresponse().read() == b"OK"
        assert isinstance(connection.sock, ssl.SSLSocket)
        return hashlib.sha256(connection.sock.getpeercert(binary_form=True) or b"").hexdigest()

    def state(self) -> dict[str, tuple[dict[str, t.Any], str]]:
        """Files, containers, listeners and certificate of each engine; dockerd's own process aside."""
        found = self.look()
        return {name: ({**found[name], "daemon": ""}, self.serves(name)) for name in found}


def environment(**more: str) -> dict[str, str]:
    """That of this process, but for what would colour or format the results, or keep Ansible from its defaults."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_") or "PATH" in name}
    home = {"ANSIBLE_HOME": os.environ["ANSIBLE_HOME"]} if "ANSIBLE_HOME" in os.environ else {}
    lab = {"ANSIBLE_NOCOLOR": "true", "ANSIBLE_PIPELINING": "true", "ANSIBLE_TIMEOUT": "60"}  # a busy machine is slow
    return {**kept, **home, **lab, **more}
