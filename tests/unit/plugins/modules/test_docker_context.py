"""docker_context, held against the docker CLI, docker-py and community.docker, which read what it writes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.docker_cli import HOST, create, current, docker, inspect, tls, tree

Run = Callable[..., dict[str, Any]]


def test_a_tls_context_is_what_the_cli_would_have_made(tmp_path: Path, run_module: Run, identities: list[Any]) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    options = {"name": "web1", "docker_host": HOST, "description": "d", **tls(identities[0])}
    home = {"HOME": str(ours)}

    checked = run_module("docker_context", check=True, env=home, **options)
    assert checked["changed"]
    assert list(ours.iterdir()) == []
    made = run_module("docker_context", env=home, **options)
    assert made == checked
    again = run_module("docker_context", env=home, **options)
    assert (again["changed"], again["diff"]) == (False, [])

    create(theirs, "web1", HOST, identities[0], "d")
    assert tree(ours / ".docker/contexts") == tree(theirs / ".docker/contexts")
    assert (ours / ".docker").stat().st_mode & 0o777 == 0o700
    assert json.loads((ours / ".docker/config.json").read_text()) == {}
    assert inspect(ours, "web1")["TLSMaterial"] == {"docker": ["ca.pem", "cert.pem", "key.pem"]}
    assert docker(ours, "context", "ls", "--format", "{{.Name}}").split() == ["default", "web1"]


READ = """
import json, docker
from docker.context import ContextAPI
context = ContextAPI.get_context("web1")
client = docker.from_context("web1", version="1.41")
print(json.dumps({
    "names": [found.Name for found in ContextAPI.contexts()], "host": context.Host, "url": client.api.base_url,
    "verify": context.TLSConfig.verify, "ca": context.TLSConfig.ca_cert, "cert": context.TLSConfig.cert,
}))
"""


@pytest.mark.parametrize("elsewhere", [False, True])
def test_docker_py_reads_it(tmp_path: Path, run_module: Run, identities: list[Any], elsewhere: bool) -> None:
    root = tmp_path / ("elsewhere" if elsewhere else ".docker")
    env = {"DOCKER_CONFIG": str(root)} if elsewhere else {}
    made = run_module("docker_context", env=env, name="web1", state="current", docker_host=HOST, **tls(identities[0]))
    assert made["current_context_name"] == "web1"
    done = subprocess.run(
        [sys.executable, "-c", READ],
        cwd=tmp_path,
        env={"HOME": str(tmp_path), **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    config = made["contexts"][0]["config"]
    assert read["names"] == ["default", "web1"]
    assert (read["host"], read["url"]) == (HOST, "https://web1.example:2376")
    assert read["verify"] is True
    assert (read["ca"], read["cert"]) == (config["ca_path"], [config["client_cert"], config["client_key"]])
    assert str(root) in config["ca_path"]
    assert current(tmp_path, config=root if elsewhere else None) == "web1"


@pytest.mark.parametrize("kind", ["tcp", "unverified", "ssh", "unix"])
def test_it_returns_what_docker_context_info_returns(
    tmp_path: Path, run_module: Run, identities: list[Any], kind: str
) -> None:
    host = {"ssh": "ssh://docker-remote@web1.example", "unix": "unix:///run/docker.sock"}.get(kind, HOST)
    options: dict[str, Any] = {"docker_host": host} | (tls(identities[0]) if host == HOST else {})
    options["validate_certs"] = kind != "unverified"
    made = run_module("docker_context", name="web1", state="current", **options)
    arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {"name": "web1"}})
    done = subprocess.run(
        [sys.executable, "-m", "ansible_collections.community.docker.plugins.modules.docker_context_info"],
        input=arguments,
        env={"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = json.loads(done.stdout)
    for context in (*made["contexts"], *theirs["contexts"]):
        context["tls_path"] = context["tls_path"].rstrip("/")
        context["config"]["validate_certs"] = bool(context["config"].get("validate_certs"))  # theirs can be null
    assert made["contexts"] == theirs["contexts"]
    assert made["current_context_name"] == theirs["current_context_name"]


def test_an_equal_context_of_the_cli_stays_and_another_is_updated(
    tmp_path: Path, run_module: Run, identities: list[Any]
) -> None:
    create(tmp_path, "web1", HOST, identities[0], "by hand")
    before = tree(tmp_path / ".docker/contexts")
    equal = {"name": "web1", "docker_host": HOST, **tls(identities[0])}
    taken = run_module("docker_context", **equal)
    assert tree(tmp_path / ".docker/contexts") == before
    assert [entry["after_header"] for entry in taken["diff"]] == [str(tmp_path / ".docker/config.json")]
    assert not run_module("docker_context", **equal)["changed"]

    other = {"name": "web1", "docker_host": "tcp://192.0.2.1:2376", **tls(identities[1])}
    changed = run_module("docker_context", **other)
    assert changed["changed"]
    assert "description: by hand" in changed["diff"][0]["before"]
    assert f"docker_host: {HOST}" in changed["diff"][0]["before"]
    assert "docker_host: tcp://192.0.2.1:2376" in changed["diff"][0]["after"]
    assert "key.pem: (another private key, not shown)" in changed["diff"][0]["before"]
    now = inspect(tmp_path, "web1")
    assert now["Metadata"]["Description"] == "by hand"
    assert now["Endpoints"]["docker"]["Host"] == "tcp://192.0.2.1:2376"
    key = Path(now["Storage"]["TLSPath"]) / "docker/key.pem"
    assert key.read_bytes() == identities[1].key.read_bytes()

    assert "Description" not in json.dumps(run_module("docker_context", description="", **other))
    assert inspect(tmp_path, "web1")["Metadata"] == {}


def test_from_tls_to_ssh_and_back(tmp_path: Path, run_module: Run, identities: list[Any]) -> None:
    run_module("docker_context", name="web1", docker_host=HOST, **tls(identities[0]))
    run_module("docker_context", name="web1", docker_host="ssh://docker-remote@web1.example:2222")
    assert inspect(tmp_path, "web1")["TLSMaterial"] == {}
    assert not list((tmp_path / ".docker/contexts/tls").rglob("*.pem"))
    run_module("docker_context", name="web1", docker_host=HOST, **tls(identities[0]))
    assert inspect(tmp_path, "web1")["TLSMaterial"] == {"docker": ["ca.pem", "cert.pem", "key.pem"]}


def test_what_is_wrong_with_the_tls_files_is_repaired(tmp_path: Path, run_module: Run, identities: list[Any]) -> None:
    options = {"name": "web1", "docker_host": HOST, **tls(identities[0])}
    made = run_module("docker_context", **options)
    good = tree(tmp_path / ".docker/contexts")
    folder = Path(made["contexts"][0]["tls_path"]) / "docker"

    folder.chmod(0o755)
    (folder / "key.pem").chmod(0o644)
    assert "can be read by others" in run_module("docker_context", **options)["diff"][0]["before"]
    assert tree(tmp_path / ".docker/contexts") == good

    (folder / "ca.pem.bak").write_text("which docker-py would take for the CA")
    (folder / "cert.pem").unlink()
    assert run_module("docker_context", **options)["changed"]
    assert tree(tmp_path / ".docker/contexts") == good


def test_current_is_written_into_the_config_that_is_there(
    tmp_path: Path, run_module: Run, identities: list[Any]
) -> None:
    (tmp_path / ".docker").mkdir()
    config = tmp_path / ".docker/config.json"
    config.write_text('{ "auths": {"r.example": {"auth": "dXNlcjpzZWNyZXQ="}} }')
    for name in ("web1", "web2"):
        run_module("docker_context", name=name, docker_host=HOST, **tls(identities[0]))
    assert config.read_text() == '{ "auths": {"r.example": {"auth": "dXNlcjpzZWNyZXQ="}} }'
    selected = run_module("docker_context", name="web2", state="current")
    assert "dXNlcjpzZWNyZXQ=" not in json.dumps(selected)
    assert config.read_text() == '{ "currentContext": "web2", "auths": {"r.example": {"auth": "dXNlcjpzZWNyZXQ="}} }'
    assert current(tmp_path) == "web2"
    assert selected["contexts"][0]["config"]["docker_host"] == HOST
    assert not run_module("docker_context", name="web2", state="current")["changed"]

    removed = run_module("docker_context", name="web2", state="absent")
    assert (removed["contexts"], removed["current_context_name"]) == ([], "default")
    assert config.read_text() == '{ "auths": {"r.example": {"auth": "dXNlcjpzZWNyZXQ="}} }'
    run_module("docker_context", name="web1", state="current")
    assert run_module("docker_context", name="default", state="current")["current_context_name"] == "default"
    assert current(tmp_path) == "default"


def test_a_removed_context_leaves_no_key_behind(tmp_path: Path, run_module: Run, identities: list[Any]) -> None:
    assert not run_module("docker_context", name="web1", state="absent")["changed"]
    assert not (tmp_path / ".docker").exists()
    run_module("docker_context", name="web1", docker_host=HOST, **tls(identities[0]))
    before = tree(tmp_path)
    assert run_module("docker_context", check=True, name="web1", state="absent")["changed"]
    assert tree(tmp_path) == before
    assert run_module("docker_context", name="web1", state="absent")["changed"]
    assert not [
        path
        for path in (tmp_path / ".docker/contexts").rglob("*")
        if path.name not in ("meta", "tls", "lock", ".bulkhead")
    ]
    assert not run_module("docker_context", name="web1", state="absent")["changed"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "default"}, "'default' is Docker's own"),
        ({"name": "w"}, "not allowed by Docker"),
        ({"name": "../web1"}, "not allowed by Docker"),
        ({"name": "web1\n"}, "not allowed by Docker"),
        ({"docker_host": "http://web1:2375"}, "no http:// endpoints; use tcp://web1:2375"),
        ({"docker_host": "https://web1:2376"}, "no https:// endpoints; use tcp://web1:2376"),
        ({"docker_host": "web1:2376"}, "is no URL"),
        ({"docker_host": "npipe:////./pipe/docker_engine"}, "none of unix://, ssh:// and tcp://"),
        ({"docker_host": "unix://docker.sock"}, "needs an absolute path"),
        ({"docker_host": "tcp://web1"}, "needs a port"),
        ({"docker_host": "tcp://web1:99999"}, "is no URL"),
        ({"docker_host": "tcp://[::1:2376"}, "is no URL"),
        ({"docker_host": "tcp://web1:2376\n"}, "is no URL"),
        ({"docker_host": "tcp://web1:2376", "client_key": None}, "needs ca_path, client_cert and client_key"),
        ({"docker_host": "ssh://web1"}, "takes no TLS files; leave ca_path, client_cert, client_key out"),
        ({"docker_host": "ssh://a:secret@web1"}, "holds a password"),
        ({"docker_host": "ssh://-oProxyCommand=x"}, "has the host '-oproxycommand=x', which is neither"),
        ({"docker_host": "ssh://-oProxyCommand=x@web1"}, "which cannot be an account"),
        ({"docker_host": "tcp://*=exec=id>pwned;true:2376"}, "has the host '*=exec=id>pwned;true', which is neither"),
        ({"docker_host": "tcp://web_1:2376"}, "has the host 'web_1', which is neither"),
        ({"docker_host": "ssh://a@192.0.2.1,192.0.2.2"}, "has the host '192.0.2.1,192.0.2.2', which is neither"),
        ({"docker_host": "tcp://[fe80::1%eth0]:2376"}, "has the host 'fe80::1%eth0', which is neither"),
        ({"docker_host": "tcp://web1:02376"}, "use tcp://web1:2376"),
        ({"ca_path": "/nonexistent"}, "/nonexistent cannot be read: there is no such file"),
        ({"client_key": "/etc"}, "/etc cannot be read: it is no regular file"),
        ({"ca_path": "/etc/passwd"}, "holds no certificate in PEM format"),
        ({"client_cert": "/etc/passwd"}, "cannot be used"),
        ({"docker_host": None}, "docker_host '' is no URL"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(
    tmp_path: Path, run_module: Run, identities: list[Any], options: dict[str, Any], says: str
) -> None:
    refused = run_module("docker_context", **{"name": "web1", "docker_host": HOST, **tls(identities[0]), **options})
    assert refused.get("failed"), refused
    assert says in refused["msg"]
    assert "secret" not in refused["msg"]
    assert list(tmp_path.iterdir()) == []


def test_keys_that_do_not_fit_are_refused(tmp_path: Path, run_module: Run, identities: list[Any]) -> None:
    options = {"name": "web1", "docker_host": HOST, **tls(identities[0])}
    swapped = run_module("docker_context", **options | {"client_key": str(identities[1].key)})
    assert "is not the key of the certificate" in swapped["msg"]
    locked = tmp_path / "locked.pem"
    subprocess.run(
        ["openssl", "pkey", "-in", identities[0].key, "-aes256", "-passout", "pass:x", "-out", locked], check=True
    )
    assert "is encrypted" in run_module("docker_context", **options | {"client_key": str(locked)})["msg"]
    assert not (tmp_path / ".docker").exists()


def test_check_mode_predicts_with_files_yet_to_come(tmp_path: Path, run_module: Run) -> None:
    paths = {name: f"/nonexistent/{name}" for name in ("ca_path", "client_cert", "client_key")}
    checked = run_module("docker_context", check=True, name="web1", docker_host=HOST, **paths)
    assert checked["changed"]
    assert "key.pem: (does not exist yet)" in checked["diff"][0]["after"]
    assert len(checked["warnings"]) == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["{", "[]", "null", '{"Endpoints": []}'])
def test_a_damaged_context_is_refused_and_can_be_removed(tmp_path: Path, run_module: Run, content: str) -> None:
    options = {"name": "web1", "docker_host": "unix:///run/docker.sock"}
    meta = Path(run_module("docker_context", **options)["contexts"][0]["meta_path"]) / "meta.json"
    meta.write_text(content)
    before = tree(tmp_path)
    for arguments in (options, {"name": "web1", "state": "current"}):
        assert str(meta) in run_module("docker_context", **arguments)["msg"]
        assert tree(tmp_path) == before
    assert run_module("docker_context", name="web2", docker_host="unix:///run/docker.sock")["changed"]
    assert run_module("docker_context", name="web1", state="absent")["changed"]
    assert not meta.parent.exists()


def test_a_damaged_config_and_a_missing_context_are_refused(tmp_path: Path, run_module: Run) -> None:
    missing = run_module("docker_context", name="web1", state="current")
    assert "'web1' cannot be current, because it does not exist" in missing["msg"]
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text("{")
    before = tree(tmp_path)
    refused = run_module("docker_context", name="web1", docker_host="unix:///run/docker.sock")
    assert "config.json is not JSON" in refused["msg"]
    assert tree(tmp_path) == before


def test_a_folder_can_be_named(tmp_path: Path, run_module: Run) -> None:
    options = {"name": "web1", "docker_host": "unix:///run/docker.sock", "config_dir": "~/elsewhere"}
    assert run_module("docker_context", **options, env={"DOCKER_CONFIG": str(tmp_path / "other")})["changed"]
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]
    assert not run_module("docker_context", **options)["changed"]


def test_with_the_last_context_the_store_goes(tmp_path: Path, run_module: Run) -> None:
    run_module("docker_context", name="web1", docker_host="unix:///run/docker.sock")
    run_module("docker_context", name="web2", docker_host="unix:///run/docker.sock")
    run_module("docker_context", name="web1", state="absent")
    assert (tmp_path / ".docker/contexts").exists()
    run_module("docker_context", name="web2", state="absent")
    assert [path.name for path in (tmp_path / ".docker").iterdir()] == ["config.json"]
    assert not run_module("docker_context", name="web2", state="absent")["changed"]
    assert run_module("docker_context", name="web1", docker_host="unix:///run/docker.sock")["changed"]


def test_a_proxy_on_the_way_is_a_warning(tmp_path: Path, run_module: Run, identities: list[Any]) -> None:
    """S2."""
    wanted = {"name": "web1", "docker_host": HOST, **tls(identities[0])}
    (warning,) = run_module("docker_context", check=True, **wanted, env={"HTTPS_PROXY": "http://proxy:1"})["warnings"]
    assert "Add to NO_PROXY: " in str(warning)
