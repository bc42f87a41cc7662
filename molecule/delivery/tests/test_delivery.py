"""A change of a small web service, from a build server to two engines. The tests follow each other in this order."""

from __future__ import annotations

import base64
import datetime
import json
import pathlib
import re
import shlex
import shutil
import subprocess
import time
import typing as t
import urllib.error
import urllib.request

import pytest
import testinfra
import yaml
from asking import Requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

ROOT = pathlib.Path(__file__).parents[3]
EXAMPLE = ROOT / "examples/delivery"
ENGINES = ("web1", "web2")
DEPLOY, EXPORT, REVOKE = (f"bulkhead.docker.{name}" for name in ("deploy", "export_identity", "revoke_client"))
# What pipelines of ours leave to whoever runs them: where images come from without a registry.
BASE = "export BASE_IMAGE=bulkhead/busybox;"


TESTCONTAINERS = """
from testcontainers.core.container import DockerContainer
with DockerContainer("bulkhead/busybox") as container:
    print(container.get_docker_client().client.info()["Name"])
"""


class Build:
    """The build server, as the OS user of its runners."""

    def __init__(self, lab: t.Any) -> None:
        self.lab = lab
        self.host = testinfra.get_host(f"ansible://build1?ansible_inventory={lab.folder / 'inventory.yml'}")

    def run(self, script: str) -> tuple[int, str]:
        """In the user's home; the exit code, and all that was said on one line."""
        # 255 is what ssh ends with, and testinfra would take it for its own connection.
        ends = "code=$?; [ $code -ne 255 ] || code=1; exit $code"
        command = f"sudo --set-home --user ci bash -lc {shlex.quote(f'cd; {BASE} {script}')}"
        done = self.host.run(f"{command}; {ends}")
        return done.rc, " ".join((done.stdout + done.stderr).split())

    def does(self, script: str) -> str:
        code, said = self.run(script)
        assert code == 0, said[-4000:]
        return said

    def refuses(self, script: str, sentence: str) -> None:
        code, said = self.run(script)
        assert code != 0, said
        assert sentence in said, said[-4000:]

    def put(self, path: str, content: bytes) -> None:
        """A file in the home of the user, for nobody else to read."""
        self.does(f"umask 077; echo {base64.b64encode(content).decode()} | base64 -d >{path}")

    def commit(self, text: str) -> None:
        """A change of the service, in the clone of whoever develops it."""
        self.does(
            f"cd ~/work && echo {text} >shop/index.html && git add --all && git commit -qm {text} &&"
            "git push -q origin HEAD:main"
        )


@pytest.fixture(scope="module")
def build(lab: t.Any) -> Build:
    return Build(lab)


@pytest.fixture(scope="module")
def repository(build: Build) -> Build:
    """The example as a repository of its own."""
    archive = subprocess.run(["tar", "-cz", "-C", str(EXAMPLE), "."], capture_output=True, check=True).stdout
    build.put("example.tar.gz", archive)
    build.does(
        "git config --global user.email ci@example.com; git config --global user.name ci;"
        "git config --global init.defaultBranch main;"
        "rm -rf work project.git; git init -q --bare project.git; git clone -q project.git work 2>/dev/null;"
        "cd work && tar -xzf ~/example.tar.gz && git add --all && git commit -qm example &&"
        "git push -q origin HEAD:main && git remote set-head origin main"
    )
    return build


def serves(lab: t.Any, engine: str) -> str:
    try:
        with urllib.request.urlopen(f"http://{lab.address(engine)}:8080/", timeout=5) as answer:
            return str(answer.read().decode().strip())
    except (urllib.error.URLError, OSError) as error:
        return str(error)


def everywhere(lab: t.Any) -> list[str]:
    return [serves(lab, engine) for engine in ENGINES]


def play(lab: t.Any, *plays: dict[str, t.Any]) -> None:
    path = lab.folder / "play.yml"
    path.write_text(yaml.safe_dump(list(plays), sort_keys=False), encoding="utf-8")
    done = lab.playbook(str(path))
    assert done.returncode == 0, lab.said(done)[-4000:]


AS_CI = {
    "hosts": "build1",
    "gather_facts": False,
    "become": True,
    "become_user": "ci",
}


def connection(arguments: str) -> str:
    return "{{ lookup('bulkhead.docker.docker_connection', " + arguments + ") }}"


def test_one_line_of_module_defaults_over_tls_and_ssh(lab: t.Any) -> None:
    container = {"name": "hello", "image": "bulkhead/busybox", "pull": "never", "state": "started"}
    asks = [
        {"community.docker.docker_host_info": {}, "register": "info"},
        {"ansible.builtin.assert": {"that": "info.host_info.Name == wanted"}},
        {"community.docker.docker_container": container},
        {"community.docker.docker_container": {"name": "hello", "state": "absent"}},
    ]
    compose = {
        "community.docker.docker_compose_v2": {
            "project_name": "hello",
            "definition": {"services": {"hello": {"image": "bulkhead/busybox", "pull_policy": "never"}}},
            "state": "{{ item }}",
        },
        "loop": ["present", "absent"],
    }
    group = "group/community.docker.docker"
    play(
        lab,
        {
            **AS_CI,
            "vars": {"wanted": "web1"},
            "module_defaults": {group: connection("'web1'")},
            "tasks": [*asks, compose],
        },
        {
            **AS_CI,
            "vars": {"wanted": "web2"},
            "module_defaults": {group: connection("'web2', transport='ssh'")},
            "tasks": asks,
        },
        {
            **AS_CI,
            "module_defaults": {group: connection("'web2', transport='ssh', modules='cli'")},
            "tasks": [compose],
        },
    )


def test_tools_that_read_no_contexts_use_the_env_files(build: Build) -> None:
    for engine in ENGINES:
        sourced = f"set -a; . ~/.bulkhead/env/{engine}/docker.env;"
        assert build.does(f"{sourced} python3 -c 'import docker; print(docker.from_env().info()[\"Name\"])'") == engine
        dockerode = 'new (require("dockerode"))().info().then(info => console.log(info.Name))'
        assert build.does(f"{sourced} NODE_PATH=/opt/npm/node_modules node -e '{dockerode}'") == engine
        said = build.does(
            f"{sourced} export TESTCONTAINERS_RYUK_DISABLED=true PYTHONPATH=/opt/python;"
            f"python3 -W ignore -c {shlex.quote(TESTCONTAINERS)}"
        )
        assert said.split()[-1] == engine, said
        over_ssh = f"set -a; . ~/.bulkhead/env/{engine}-ssh/docker.env; docker info --format '{{{{.Name}}}}'"
        assert build.does(over_ssh) == engine


def test_the_user_of_the_runners_logs_in_nowhere(lab: t.Any, build: Build) -> None:
    for engine in ENGINES:
        for command in ("id", "sh -i", "docker ps"):
            code, said = build.run(f"ssh -o BatchMode=yes docker-build1@{lab.address(engine)} {command} </dev/null")
            assert code != 0 and "uid=" not in said, said
        code, said = build.run(f"ssh -o BatchMode=yes -o StrictHostKeyChecking=no ci@{lab.address(engine)} id")
        assert code != 0 and "Permission denied" in said, said


def test_gitlab(lab: t.Any, repository: Build) -> None:
    repository.commit("gitlab")
    said = repository.does("cd ~/work && /opt/npm/node_modules/.bin/gitlab-ci-local --shell-executor-no-image deploy")
    assert "deploy: web1 (tcp://" in said and "deploy: web2-ssh (ssh://" in said
    assert everywhere(lab) == ["gitlab", "gitlab"]


def test_github(lab: t.Any, repository: Build) -> None:
    repository.commit("github")
    act = "/opt/python/bin/act push --platform self-hosted=-self-hosted --platform docker-deploy=-self-hosted"
    # A runner on the host wants no engine of its own; the one that act would look for is not the user's.
    repository.does(f"cd ~/work && {act} --container-daemon-socket - --env BASE_IMAGE=bulkhead/busybox")
    assert everywhere(lab) == ["github", "github"]


def test_jenkinsfile(lab: t.Any, repository: Build) -> None:
    """By the Groovy of Jenkins, and something that stands in for the rest of it."""
    repository.commit("jenkins")
    before = everywhere(lab)
    assert "ran 0 steps" in repository.does("cd ~/work && groovy /opt/jenkins.groovy Jenkinsfile feature")
    assert everywhere(lab) == before
    assert "ran 1 steps" in repository.does("cd ~/work && groovy /opt/jenkins.groovy Jenkinsfile main")
    assert everywhere(lab) == ["jenkins", "jenkins"]
    repository.does("cd ~/work && sed 's/web1 web2-ssh/web9/' Jenkinsfile >~/Jenkinsfile")
    repository.refuses("cd ~/work && groovy /opt/jenkins.groovy ~/Jenkinsfile main", "ci has no context web9 here")


def test_buildbot(lab: t.Any, repository: Build) -> None:
    repository.does(
        "rm -rf master worker; export DEPLOY_REPOSITORY=$HOME/project.git DEPLOY_WORKER_PASSWORD=one-of-the-lab;"
        "buildbot create-master --relocatable master >/dev/null && cp ~/work/master.cfg master/ &&"
        "buildbot checkconfig master &&"
        "buildbot-worker create-worker worker localhost:9989 docker-deploy $DEPLOY_WORKER_PASSWORD >/dev/null;"
        "sed -i 's/pollInterval=60/pollInterval=2/' master/master.cfg;"
        "buildbot start master && buildbot-worker start worker"
    )
    try:
        time.sleep(6)  # the poller knows the branch as it is
        repository.commit("buildbot")
        end = time.monotonic() + 90
        while everywhere(lab) != ["buildbot", "buildbot"] and time.monotonic() < end:
            time.sleep(1)
        log = repository.does("tail -n 40 master/twistd.log worker/twistd.log")
        assert everywhere(lab) == ["buildbot", "buildbot"], log
    finally:
        repository.does("kill $(cat worker/twistd.pid); kill $(cat master/twistd.pid)")


def test_a_deployment_fails_closed(lab: t.Any, repository: Build) -> None:
    deploy = "cd ~/work && ci/deploy shop"
    repository.refuses(f"{deploy} web9", "ci has no context web9 here")
    repository.refuses(f"{deploy} default", "leads to unix:///var/run/docker.sock, which is no remote engine")
    repository.does(f"docker context create plain --docker host=tcp://{lab.address('web1')}:2376")
    repository.refuses(f"{deploy} plain", "the context plain has no ca.pem, so that docker would speak plain HTTP")
    repository.does(
        "cd ~/.bulkhead/identities/build1 && docker context create trusting --docker "
        f"host=tcp://{lab.address('web1')}:2376,ca=ca.pem,cert=cert.pem,key=key.pem,skip-tls-verify=true"
    )
    repository.refuses(f"{deploy} trusting", "does not check the engine's certificate")
    repository.does("docker context create any-host --docker host=ssh://docker-build1@nowhere.example")
    repository.refuses(f"{deploy} any-host", "would take any host key for the context any-host")
    # Nothing in the environment of a job changes where it goes.
    said = repository.does(f"export DOCKER_HOST=tcp://192.0.2.1:2375 DOCKER_TLS_VERIFY=; {deploy} web1")
    assert f"deploy: web1 (tcp://{lab.address('web1')}:2376" in said
    assert "WARNING" not in said
    said = repository.does(f"export DEPLOY_WARN_DAYS=91; {deploy} web1")
    assert re.search(r"WARNING: the certificate of the context web1 ends on .* GMT; run bulkhead.docker.renew", said)
    repository.does("docker context rm plain trusting any-host")
    # Compose itself says now and then, when the time is over, that it is healthy.
    changes = r"s/name: shop/name: sick/; s/8080:8080/8081:8080/; s/0\.1:8080/0\.1:9/"
    repository.does(f"cp -r work/shop sick && sed -i '{changes}' sick/compose.yaml")
    for _ in range(4):
        code, said = repository.run("export DEPLOY_WAIT=3; work/ci/deploy sick web1")
        assert code != 0 and "healthy" in said, said
    repository.does("docker --context web1 compose --project-directory sick down && rm -r sick")


def test_an_expired_identity_says_so(lab: t.Any, repository: Build) -> None:
    """Its certificate is of our CA and ended yesterday."""
    ca = lab.home / ".bulkhead/ca"
    issuer = x509.load_pem_x509_certificate((ca / "ca.pem").read_bytes())
    signing: t.Any = serialization.load_pem_private_key((ca / "ca-key.pem").read_bytes(), None)
    folder = "~/.bulkhead/identities/build1"
    current = x509.load_pem_x509_certificate(
        repository.host.check_output(f"sudo cat ~ci/{folder[2:]}/cert.pem").encode()
    )
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder(
        issuer.subject,
        current.subject,
        current.public_key(),
        x509.random_serial_number(),
        now - datetime.timedelta(days=9),
        now - datetime.timedelta(days=1),
    )
    for extension in current.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    pem = builder.sign(signing, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    repository.does(f"mkdir -pm 700 expired && cp {folder}/ca.pem {folder}/key.pem expired")
    repository.put("expired/cert.pem", pem.encode())
    repository.does(
        f"docker context create expired --docker host=tcp://{lab.address('web1')}:2376,"
        "ca=expired/ca.pem,cert=expired/cert.pem,key=expired/key.pem"
    )
    repository.refuses("cd ~/work && ci/deploy shop expired", "the certificate of the context expired expired on")
    code, said = repository.run("docker --context expired version")
    # A client that writes before it reads the engine's alert sees no more than the end of the connection.
    assert code != 0 and re.search("certificate|connection reset by peer|broken pipe", said), said
    repository.does("docker --context web1 version")
    repository.does("docker context rm expired; rm -r expired")


def runner(lab: t.Any, *arguments: str, **more: t.Any) -> tuple[int, str]:
    """A run of the playbook by ansible-runner, as AWX does it."""
    folder = lab.folder / "runner"
    shutil.rmtree(folder, ignore_errors=True)  # it would use the arguments of the run before
    (folder / "project").mkdir(parents=True, exist_ok=True)
    (folder / "project/deploy.yml").write_text(f"- import_playbook: {DEPLOY}\n", encoding="utf-8")
    variables = {
        "docker_deploy_projects": [{"name": "shop", "src": str(lab.folder / "shop")}],
        "docker_deploy_transport": "",
        **more,
    }
    (folder / "env").mkdir(exist_ok=True)
    (folder / "env/extravars").write_text(json.dumps(variables), encoding="utf-8")
    done = lab.run(
        "python3",
        "-c",
        "import sys, ansible_runner\n"
        f"r = ansible_runner.run(private_data_dir={str(folder)!r}, playbook='deploy.yml', quiet=False,\n"
        f"    inventory={str(lab.folder / 'inventory.yml')!r}, cmdline={' '.join(arguments)!r} or None)\n"
        "sys.exit(r.rc)",
        timeout=600,
        PYTHONPATH=str(ROOT / ".cache/delivery/python"),
    )
    return done.returncode, re.sub(r"\x1b\[[0-9;]*m", "", lab.said(done))


def broken(shop: pathlib.Path, text: str) -> None:
    """A version that says something else and is not healthy."""
    (shop / "index.html").write_text(f"{text}\n", encoding="utf-8")
    content = (EXAMPLE / "shop/compose.yaml").read_text(encoding="utf-8")
    (shop / "compose.yaml").write_text(content.replace("127.0.0.1:8080/", "127.0.0.1:9/"), encoding="utf-8")


def mended(shop: pathlib.Path, text: str) -> None:
    shutil.copy(EXAMPLE / "shop/compose.yaml", shop)
    (shop / "index.html").write_text(f"{text}\n", encoding="utf-8")


def test_deploy_from_ansible_runner(lab: t.Any, build: Build) -> None:
    shop = lab.folder / "shop"
    lab.run("cp", "-r", str(EXAMPLE / "shop"), str(shop))
    (shop / ".env").write_text("BASE_IMAGE=bulkhead/busybox\n", encoding="utf-8")
    before = everywhere(lab)
    # The pipelines have deployed it until now, so that deploy has no files to go back to, and takes nothing down.
    broken(shop, "broken first")
    code, said = runner(lab, docker_deploy_wait_timeout=20)
    assert code != 0
    assert "Somebody else had started it there, so that it is left as it is now." in said, said[-4000:]
    assert build.does("docker --context web1 ps --all --format '{{.Names}}'") == "shop-web-1"
    mended(shop, "ansible")
    code, said = runner(lab, "--check", "--diff")
    assert code == 0 and "+ansible" in said, said[-4000:]
    assert everywhere(lab) == ["broken first", before[1]]
    code, said = runner(lab)
    assert code == 0, said[-4000:]
    assert everywhere(lab) == ["ansible", "ansible"]
    code, said = runner(lab, docker_deploy_transport="ssh")
    assert code == 0 and " changed=0 " in said, said[-4000:]


def test_a_deployment_that_is_not_healthy_goes_back(lab: t.Any, build: Build) -> None:
    shop = lab.folder / "shop"
    broken(shop, "broken")
    code, said = runner(lab, docker_deploy_wait_timeout=20)
    assert code != 0
    assert "shop was not deployed to web1, and nothing after it:" in said, said[-4000:]
    assert "Its previous files are deployed again, and healthy." in said, said[-4000:]
    assert everywhere(lab) == ["ansible", "ansible"]
    code, said = runner(
        lab, docker_deploy_wait_timeout=20, docker_deploy_projects=[{"name": "other", "src": str(shop)}]
    )
    assert code != 0 and "other was not deployed to web1" in said and "It was not deployed there before" in said, said[
        -4000:
    ]
    assert build.does("docker --context web1 ps --all --format '{{.Names}}'") == "shop-web-1"


def test_a_trial_lets_a_broken_version_touch_nothing(lab: t.Any, build: Build) -> None:
    shop = lab.folder / "shop"
    tried = [{"name": "shop", "src": str(shop), "trial": True}]
    state = "docker --context web1 ps --all --no-trunc; docker --context web1 images; docker --context web1 network ls"
    container = "docker --context web1 ps --quiet --no-trunc"
    before = build.does(container)
    broken(shop, "broken")
    with Requests({engine: lab.address(engine) for engine in ENGINES}, "/") as requests:
        code, said = runner(lab, docker_deploy_wait_timeout=20, docker_deploy_projects=tried)
    assert code != 0
    assert "shop was not deployed to web1, and nothing after it: A second copy of it did not become healthy" in said, (
        said[-4000:]
    )
    assert "What runs was not touched." in said, said[-4000:]
    assert [list(found) for found in requests.counts.values()] == [["ansible"]] * len(ENGINES)
    assert min(len(found) for found in requests.answers.values()) > 40
    assert build.does(container) == before
    assert "trial" not in build.does(state)
    mended(shop, "tried")
    code, said = runner(lab, docker_deploy_projects=tried)
    assert code == 0, said[-4000:]
    assert everywhere(lab) == ["tried", "tried"]
    assert "trial" not in build.does(state)
    code, said = runner(lab, docker_deploy_projects=tried)
    assert code == 0 and " changed=0 " in said, said[-4000:]


def test_a_bundle_works_until_it_is_revoked(lab: t.Any, repository: Build) -> None:
    values = ("-e", "docker_export_name=hosted", "-e", f"docker_export_dest={lab.folder}/hosted")
    done = lab.playbook(EXPORT, *values, "-e", "docker_export_encrypt=false")
    assert done.returncode == 0, lab.said(done)
    archive = (lab.folder / "hosted/contexts/web1.dockercontext").read_bytes()
    repository.put("web1.dockercontext", archive)
    repository.does("docker context import hosted ~/web1.dockercontext && rm ~/web1.dockercontext")
    repository.commit("hosted")
    said = repository.does("cd ~/work && ci/deploy shop hosted")
    assert serves(lab, "web1") == "hosted", said

    renewed = lab.playbook("bulkhead.docker.renew")
    assert re.search(r"hosted - - \d+ exported", lab.said(renewed)), lab.said(renewed)[-3000:]

    revoked = lab.playbook(REVOKE, "-e", "docker_revoke_name=hosted", "-e", "docker_revoke_by_rotation=true")
    assert revoked.returncode == 0, lab.said(revoked)[-4000:]
    repository.refuses(
        "cd ~/work && ci/deploy shop hosted", "refuses the identity of the context hosted: it was revoked"
    )
    repository.commit("after")
    repository.does("cd ~/work && ci/deploy shop web1 web2-ssh")
    assert everywhere(lab) == ["after", "after"]


def test_a_revoked_build_server_has_no_contexts_and_no_env_files(lab: t.Any, repository: Build) -> None:
    done = lab.playbook(
        REVOKE,
        "-e",
        "docker_revoke_name=build1",
        "-e",
        json.dumps({"docker_client_identities": [{"name": "build1", "user": "ci"}, {"name": "ops"}]}),
    )
    assert done.returncode == 0, lab.said(done)[-4000:]
    repository.refuses(
        "cd ~/work && ci/deploy shop web1", "An identity that was revoked or removed loses its contexts."
    )
    assert repository.run("ls ~/.bulkhead/env")[0] != 0
    for engine in ENGINES:
        host = testinfra.get_host(f"ansible://{engine}?ansible_inventory={lab.folder / 'inventory.yml'}")
        assert not host.user("docker-build1").exists
