"""Something else keeps the certificates: of engines from a CA that opens none, of a client from the one that does."""

from __future__ import annotations

import pathlib
import ssl
import subprocess
from typing import Any

import pytest

FILES = pathlib.Path(__file__).parents[1] / "files"
ON_THE_ENGINE = "/etc/ssl/kept"


class Agent:
    """Installs certificates where the inventory says that they are."""

    def __init__(self, elsewhere: Any) -> None:
        self.elsewhere, self.lab, self.company = elsewhere, elsewhere.lab, elsewhere.company
        self.folder = self.lab.folder / "agent"
        self.folder.mkdir(exist_ok=True)

    def _make(self, ca: str, name: str, usage: str, names: str, target: pathlib.Path) -> None:
        command = [FILES / "installed", self.company.folder, ca, name, usage, names, target]
        subprocess.run(command, check=True, capture_output=True)

    def install_on(self, engine: str, name: str = "") -> str:
        """A new pair on an engine, for itself unless another name is given; the certificate comes back."""
        names = [f"DNS:{name or engine}", f"IP:{self.lab.address(engine)}", "DNS:localhost", "IP:127.0.0.1", "IP:::1"]
        self._make("staff", engine, "serverAuth", ",".join(names), self.folder / engine)
        command = [
            "ansible",
            engine,
            "-i",
            str(self.lab.folder / "inventory.yml"),
            "-b",
            "-m",
            "ansible.builtin.copy",
            "-a",
        ]
        for kind in ("pem", "key"):
            done = self.lab.run(*command, f"src={self.folder}/{engine}.{kind} dest={ON_THE_ENGINE}.{kind} mode=0400")
            assert done.returncode == 0, done.stdout + done.stderr
        return (self.folder / f"{engine}.pem").read_text().partition("-----END")[0]

    def install_client(self) -> str:
        self._make("vault", "agent", "clientAuth", "", self.folder / "agent")
        return (self.folder / "agent.pem").read_text()

    def served(self, engine: str) -> str:
        return ssl.get_server_certificate((self.lab.address(engine), 2376)).partition("-----END")[0]

    def assert_all_get_in(self) -> None:
        for engine in self.lab.engines:
            for identity in ("admin", "agent"):
                assert self.lab.docker("--context", f"{engine}-{identity}", "ps", "--format", "{{.Names}}") == "keep"
                folder = self.lab.home / ".bulkhead/identities" / identity
                assert self.company.docker_py(engine, folder, folder / "ca.pem") == ["keep"]


@pytest.fixture(scope="module")
def agent(elsewhere: Any, openbao: str) -> Agent:
    """Beside the CA of the tests before, which has issued everything by now."""
    made = Agent(elsewhere)
    elsewhere.given |= {
        "docker_engine_certificate_path": f"{ON_THE_ENGINE}.pem",
        "docker_engine_private_key_path": f"{ON_THE_ENGINE}.key",
        "docker_engine_server_ca": elsewhere.company.path("root.pem").read_text(),
        "docker_client_identities": [
            {"name": "admin"},
            {
                "name": "agent",
                "certificate_path": str(made.folder / "agent.pem"),
                "private_key_path": str(made.folder / "agent.key"),
            },
        ],
    }
    return made


def test_what_is_not_there_is_named_and_changes_nothing(agent: Agent) -> None:
    before = agent.company.state()
    code, said = agent.elsewhere.run()
    assert code != 0
    assert f"the server certificate {ON_THE_ENGINE}.pem cannot be read on the engine" in said
    assert agent.company.state() == before


def test_pairs_of_others_are_taken_over(agent: Agent) -> None:
    installed = {engine: agent.install_on(engine) for engine in agent.lab.engines}
    agent.install_client()
    code, said = agent.elsewhere.run()
    assert code == 0, said
    assert {engine: agent.served(engine) for engine in agent.lab.engines} == installed
    agent.assert_all_get_in()
    before = agent.company.state()
    code, said = agent.elsewhere.run()
    assert code == 0, said
    assert agent.company.state() == before


def test_the_ca_of_the_servers_opens_no_engine(agent: Agent) -> None:
    """Clients trust it, engines do not."""
    company = agent.company
    for engine in agent.lab.engines:
        company.assert_refused(
            engine,
            company.path("client-of-staff-chain.pem"),
            company.path("client-of-staff.key"),
            agent.lab.identity / "ca.pem",
        )


def test_a_renewal_by_others_is_noticed_and_served(agent: Agent, elsewhere: Any) -> None:
    server, client = agent.install_on("p12"), agent.install_client()
    code, said = elsewhere.run("verify")
    assert code != 0
    assert f"{ON_THE_ENGINE}.pem holds another one than dockerd has; run bulkhead.docker.renew" in said
    others = {engine: agent.served(engine) for engine in agent.lab.engines if engine != "p12"}
    code, said = elsewhere.run("renew")
    assert code == 0, said
    assert agent.served("p12") == server
    assert {engine: agent.served(engine) for engine in others} == others
    assert (agent.lab.home / ".bulkhead/identities/agent/cert.pem").read_text().strip() == client.strip()
    agent.assert_all_get_in()
    code, said = elsewhere.run("verify")
    assert code == 0, said


def test_one_that_clients_would_not_accept_is_not_used(agent: Agent, elsewhere: Any) -> None:
    before = agent.served("p13")
    agent.install_on("p13", name="p14")
    code, said = elsewhere.run("renew")
    assert code != 0
    assert f"would not accept the server certificate in {ON_THE_ENGINE}.pem: it lacks the names p13" in said
    assert agent.served("p13") == before
    agent.assert_all_get_in()
