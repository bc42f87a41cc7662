"""A signed repository on two engines: what is deployed, what is refused, and what a failure or a power cut leaves.

The tests follow one another on the same engines, and each of them leaves these as the next one needs them.
"""

from __future__ import annotations

import json
import subprocess
import typing as t

import pytest
from pulling import SERVER, Engines, Repository, other, wait_for, web

# Started instead of git and docker while /run/lab-trap is there: what fits waits for the power cut.
TRAP = """#!/bin/sh
if [ -e /run/lab-trap ] && printf '%s' "$0 $*" | grep -q -e "$(cat /run/lab-trap)"; then exec sleep 36000; fi
exec "/usr/bin/${0##*/}" "$@"
"""


def tree(repository: Repository, path: str = "web") -> str:
    return repository.git("rev-parse", f"HEAD:{path}")


def deployed(engines: Engines, repository: Repository, version: str) -> None:
    """Everything is as the newest commit has it."""
    assert engines.serve() == engines.same(version)
    assert engines.good("web") == engines.same(repository.head)
    assert engines.problem("web") == engines.problem("other") == engines.same("")


def refused(engines: Engines, sentence: str) -> None:
    """A run that changes nothing and says why."""
    before, accepted = engines.containers(), {name: state["accepted"] for name, state in engines.state().items()}
    assert engines.run() == engines.same(False)
    assert engines.containers() == before
    for name, state in engines.state().items():
        assert state["accepted"] == accepted[name]
        assert sentence in " ".join(state["refused"]), (name, state["refused"])
    assert engines.metric("refused") == engines.same("1")


# -- what is deployed -------------------------------------------------------------------------------------------------


def test_a_signed_commit_is_deployed_by_the_next_run(engines: Engines, repository: Repository) -> None:
    repository.commit("One", **web("one"), **other(1000))
    engines.each("systemctl start docker-gitops.timer")
    repository.push()
    pushed = engines.each("date +%s")

    def is_there(name: str) -> bool:
        projects = json.loads(engines.on(name, "docker-gitops status --json").stdout)["projects"]
        found = [(projects.get(project) or {}).get("good") or {} for project in ("web", "other")]
        return [good.get("commit") for good in found] == [repository.head] * 2

    wait_for(lambda: all(engines.all(is_there).values()))

    events = {name: json.loads(text) for name, text in engines.each("head -1 /var/lib/docker-gitops/notified").items()}
    engines.stop_timer()
    deployed(engines, repository, "one")
    # The interval is ten seconds and one of chance; the run itself is not counted.
    history = engines.each("grep '\"accepted\"' /var/lib/docker-gitops/history.jsonl | tail -1")
    for name, line in history.items():
        assert json.loads(line)["commit"] == repository.head
        assert json.loads(line)["at"] - int(pushed[name]) <= 10 + 1 + 5
        assert events[name]["event"] in ("problem", "accepted")


def test_a_run_without_news_changes_nothing(engines: Engines) -> None:
    before = engines.containers()
    assert engines.run() == engines.same(True)
    assert engines.containers() == before
    assert {name: state["projects"]["web"]["drift"] for name, state in engines.state().items()} == engines.same([])


def test_a_commit_elsewhere_leaves_a_project_alone(engines: Engines, repository: Repository) -> None:
    before = engines.each("docker ps --quiet --no-trunc --filter name=web-web")
    repository.commit("Other", **other(2000))
    repository.push()
    assert engines.run() == engines.same(True)
    assert engines.each("docker ps --quiet --no-trunc --filter name=web-web") == before
    assert engines.good("other") == engines.same(repository.head)


def test_files_are_those_of_the_commit_whatever_attributes_and_hooks_say(
    engines: Engines, repository: Repository
) -> None:
    hook = "printf '#!/bin/sh\\ntouch /var/lib/docker-gitops/hooked\\n'"
    names = "post-checkout post-merge reference-transaction post-index-change"
    engines.each(
        f"cd /var/lib/docker-gitops/repository.git && mkdir -p hooks && for hook in {names}; do"
        f" {hook} >hooks/$hook; chmod 755 hooks/$hook; done; git config filter.evil.smudge 'touch /tmp/filtered; cat'"
    )
    content = "$Id$ $Format:%H$\r\nname\n"
    attributes = "* filter=evil ident export-subst text eol=crlf\nwww/left export-ignore\n"
    repository.commit("Attributes", **{"web/.gitattributes": attributes, "web/www/version": "attributes"})
    (repository.folder / "web/www/left").write_bytes(content.encode())
    blob = repository.git("hash-object", "-w", "--no-filters", "web/www/left")
    repository.git("update-index", "--add", "--cacheinfo", f"100644,{blob},web/www/left")
    repository.git("config", "user.signingkey", str(repository.keys / "alice"))
    repository.git("commit", "--quiet", "-S", "--message", "Raw")
    repository.push()

    assert engines.run() == engines.same(True)

    deployed(engines, repository, "attributes")
    folder = f"/var/lib/docker-gitops/trees/web/{tree(repository)}"
    assert engines.each(f"git hash-object --no-filters {folder}/www/left") == engines.same(blob)
    engines.each(
        "! ls /var/lib/docker-gitops/hooked /tmp/filtered /tmp/systemd-private-*gitops*/tmp/filtered 2>/dev/null"
    )
    repository.git("rm", "--quiet", "--force", "web/.gitattributes", "web/www/left")
    repository.commit("No attributes", **web("plain"))
    repository.push()
    assert engines.run() == engines.same(True)


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.fixture
def anew(engines: Engines, repository: Repository) -> t.Iterator[str]:
    """The newest accepted commit, to which server and clone go back in the end."""
    before = repository.head
    yield before
    repository.git("reset", "--quiet", "--hard", before)
    repository.push()
    assert engines.run() == engines.same(True)


@pytest.mark.parametrize(
    ("key", "date", "sentence"),
    [
        (None, "", "is not signed"),
        ("mallory", "", "which docker_gitops_signers does not have"),
        ("bob", "", "outside of the dates"),
        ("bob", "2025-06-01T12:00:00Z", "outside of the dates"),  # its signer chooses the date
        ("alice", "2025-06-01T12:00:00Z", "an earlier date"),
        ("alice", "2099-06-01T12:00:00Z", "a date in the future"),
    ],
)
def test_a_commit_is_refused(
    engines: Engines, repository: Repository, anew: str, key: str | None, date: str, sentence: str
) -> None:
    repository.commit("Refused", key=key, date=date, **web("refused"))
    repository.push()
    refused(engines, sentence)
    assert "refused" not in engines.serve().values()


def test_an_openpgp_signature_is_refused_that_root_would_trust(
    engines: Engines, repository: Repository, anew: str
) -> None:
    home = repository.keys / "gnupg"
    home.mkdir(mode=0o700, exist_ok=True)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet"]
    user = "alice@example.com"
    subprocess.run([*gpg, "--passphrase", "", "--quick-gen-key", user, "ed25519", "sign"], check=False)
    public = subprocess.run([*gpg, "--armor", "--export", user], capture_output=True, text=True, check=True).stdout
    repository.commit("OpenPGP", key=None, **web("openpgp"))
    sign = [*gpg, "--armor", "--detach-sign"]
    content = repository.unsigned_content(repository.head)
    block = subprocess.run(sign, input=content, capture_output=True, check=True).stdout.decode()
    signed = repository.with_signature(repository.head, block)
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)
    repository.git("reset", "--quiet", "--hard", signed)
    repository.push()
    engines.each(f"gpg --batch --quiet --import <<'E'\n{public}\nE\n")

    refused(engines, "OpenPGP")

    plain = f"HOME=/root git --git-dir=/var/lib/docker-gitops/repository.git verify-commit {signed}"
    engines.each(f"{plain} 2>/root/verified || {{ cat /root/verified; false; }}")  # the signature itself is good


def test_rewritten_history_and_an_older_commit_are_refused(engines: Engines, repository: Repository, anew: str) -> None:
    repository.push(f"{anew}~1:refs/heads/main")
    refused(engines, "is older than")
    repository.git("reset", "--quiet", "--hard", f"{anew}~1")
    repository.commit("Another history", **web("another"))
    repository.push()
    refused(engines, "history was rewritten")


REMOTE = "https://git.example.com/compose.git#main:compose.yaml"
PROJECTS = {
    "submodule": ("is a submodule", ("160000", "{commit}", "web/module")),
    "link": ("is a symbolic link", ("120000", "/etc/shadow", "web/www/link")),
    "include": ("remote resource is disabled", f'include: ["{REMOTE}"]\n'),
    "extends": (
        "remote resource is disabled",
        f'services: {{web: {{extends: {{file: "{REMOTE}", service: web}}}}}}\n',
    ),
    "include by oci": ("remote resource is disabled", "include: [oci://registry.example.com/compose:1]\n"),
    "broken": ("is not deployed", "services: {web: {image: [}\n"),
    "build": ("is built from", 'services: {web: {build: "https://git.example.com/image.git"}}\n'),
    "config": (
        "outside of its folder",
        "services: {web: {image: bulkhead/busybox, configs: [c]}}\nconfigs: {c: {file: /etc/passwd}}\n",
    ),
    "env_file": (
        "no file in the project's own folder",
        "services: {web: {image: bulkhead/busybox, env_file: /etc/environment}}\n",
    ),
    "provider": ("has a provider", "services: {web: {provider: {type: lab}}}\n"),
}


@pytest.mark.parametrize("case", list(PROJECTS))
def test_what_no_signature_covers_is_refused_and_the_other_project_goes_on(
    engines: Engines, repository: Repository, case: str
) -> None:
    sentence, change = PROJECTS[case]
    before = engines.each("docker ps --quiet --no-trunc --filter name=web-web")
    good = engines.good("web")
    seconds = 3000 + list(PROJECTS).index(case)
    if isinstance(change, str):
        base = web("never")["web/compose.yaml"] or ""
        own = change if change.startswith("services") else base + change
        repository.commit(case, **{**web("never"), "web/compose.yaml": own}, **other(seconds))
    else:
        mode, content, path = change
        content = content.format(commit=repository.head)
        repository.write(**web("never"), **other(seconds))
        repository.git("add", "--all")
        blob = content if mode == "160000" else repository.git("hash-object", "-w", "--stdin", given=content.encode())
        repository.git("update-index", "--add", "--cacheinfo", f"{mode},{blob},{path}")
        repository.git("config", "user.signingkey", str(repository.keys / "alice"))
        repository.git("commit", "--quiet", "-S", "--message", case)
    repository.push()

    with engines.requests() as requests:
        assert engines.run() == engines.same(False)

    for name, problem in engines.problem("web").items():
        if case == "provider" and name == "d13":  # its Compose does not know them, and says so
            assert "provider" in problem
        else:
            assert sentence in problem, (name, problem)
    assert engines.each("docker ps --quiet --no-trunc --filter name=web-web") == before
    assert engines.good("web") == good
    assert engines.good("other") == engines.same(repository.head)
    assert [list(found) for found in requests.counts.values()] == [["plain"]] * len(engines.names)
    repository.git("rm", "--quiet", "-r", "--cached", "web")
    repository.git("clean", "-fdxq", "web")
    repository.commit(f"No {case}", **web("plain"))
    repository.push()
    assert engines.run() == engines.same(True)
    assert engines.problem("web") == engines.same("")


# -- what fails and goes back -----------------------------------------------------------------------------------------


def test_a_version_that_is_not_healthy_never_takes_the_place_of_one_that_is(
    engines: Engines, repository: Repository
) -> None:
    good = engines.good("web")
    repository.commit("Sick", **web("sick", checked="nothing"), **other(4000))
    repository.push()

    with engines.requests() as requests:
        assert engines.run() == engines.same(False)
        assert engines.run() == engines.same(False)  # it is not tried again

    assert [list(found) for found in requests.counts.values()] == [["plain"]] * len(engines.names)
    assert min(len(found) for found in requests.answers.values()) > 40
    assert engines.good("web") == good
    assert engines.good("other") == engines.same(repository.head)
    for problem in engines.problem("web").values():
        assert "a trial of it did not become healthy" in problem
    engines.each("! docker ps --all --format '{{.Names}}' | grep trial && ! docker network ls | grep trial")
    assert engines.metric('project_problem{project="web"}') == engines.same("1")
    failures = engines.each("grep -c '\"failed\"' /var/lib/docker-gitops/notified")
    assert engines.run() == engines.same(False)
    assert engines.each("grep -c '\"failed\"' /var/lib/docker-gitops/notified") == failures


def test_without_a_trial_the_last_good_version_comes_back(engines: Engines, repository: Repository) -> None:
    engines.role(gitops_trial=False)
    repository.commit("Sicker", **web("sicker", checked="nothing"))
    repository.push()

    assert engines.run() == engines.same(False)

    assert engines.serve() == engines.same("plain")
    assert engines.each("docker inspect --format '{{.State.Health.Status}}' web-web-1") == engines.same("healthy")
    for name, line in engines.each("tail -1 /var/lib/docker-gitops/history.jsonl").items():
        assert json.loads(line)["event"] == "rolled_back", name
    repository.commit(
        "Ends",
        **{
            **web("ends"),
            "web/compose.yaml": "services: {web: {image: bulkhead/busybox, command: [sleep, '1'], restart: always}}\n",
        },
    )
    repository.push()
    assert engines.run() == engines.same(False)
    for problem in engines.problem("web").values():
        assert "ends again and again" in problem
    assert engines.serve() == engines.same("plain")
    repository.commit("Well", **web("well"))
    repository.push()
    assert engines.run() == engines.same(True)
    deployed(engines, repository, "well")


def test_without_the_git_server_nothing_changes_and_a_metric_says_so(engines: Engines, repository: Repository) -> None:
    before, success = engines.containers(), engines.metric("last_success_timestamp_seconds")
    server = f"bulkhead-{engines.lab.name}-git"
    engines.lab.docker("exec", server, "systemctl", "stop", "ssh")
    try:
        with engines.requests() as requests:
            assert engines.run() == engines.same(False)
    finally:
        engines.lab.docker("exec", server, "systemctl", "start", "ssh")
    assert engines.containers() == before
    assert [list(found) for found in requests.counts.values()] == [["well"]] * len(engines.names)
    assert engines.metric("fetch_success") == engines.same("0")
    assert engines.metric("last_success_timestamp_seconds") == success
    assert engines.run() == engines.same(True)
    assert engines.metric("fetch_success") == engines.same("1")


def test_a_server_with_another_host_key_is_not_asked(engines: Engines) -> None:
    known = "/etc/docker-gitops/known_hosts"
    foreign = (engines.lab.folder / "mallory.pub").read_text(encoding="utf-8").strip()
    engines.each(f"cp -p {known} /root/known; sed -i 's|ssh-ed25519 .*|{foreign}|' {known}")
    assert engines.run() == engines.same(False)
    for state in engines.state().values():
        assert "Host key verification failed" in state["problem"]
    engines.each(f"cp -p /root/known {known}")
    assert engines.run() == engines.same(True)


# -- drift, pause, dry run, secrets -----------------------------------------------------------------------------------


def test_drift_is_shown_and_corrected_when_told_to(engines: Engines, repository: Repository) -> None:
    file = f"/var/lib/docker-gitops/trees/web/{tree(repository)}/www/version"
    engines.each("docker rm --force other-other-1")
    assert engines.run() == engines.same(True)
    assert engines.metric('project_drift{project="other"}') == engines.same("1")
    engines.each("! docker inspect other-other-1 >/dev/null 2>&1")
    engines.each(f"echo changed >{file}; docker stop other-other-1 2>/dev/null || true")

    engines.role(gitops_drift="correct", gitops_trial=False)
    assert engines.run() == engines.same(True)

    assert engines.serve() == engines.same("well")
    engines.each("docker inspect other-other-1 >/dev/null")
    assert engines.metric('project_drift{project="web"}') == engines.same("0")
    # Another value of a secret is other settings; a file of secrets that is gone is a problem and nothing else.
    engines.each("mv /etc/web-secret /root/web-secret")
    assert engines.run() == engines.same(False)
    for problem in engines.problem("web").values():
        assert "/etc/web-secret" in problem
    engines.each("echo second >/etc/web-secret")
    assert engines.run() == engines.same(True)
    assert engines.each("docker exec web-web-1 sh -c 'echo $SECRET'") == engines.same("second")
    engines.each("! grep -r second /var/lib/docker-gitops/state.json /var/lib/docker-gitops/history.jsonl")


def test_a_secret_that_systemd_decrypts_reaches_the_project(engines: Engines) -> None:
    encrypt = "systemd-creds encrypt --name=web.WEB_SECRET - /etc/credstore.encrypted/web"
    engines.each(f"mkdir -p /etc/credstore.encrypted && echo third | {encrypt}")
    engines.role(gitops_drift="correct", gitops_trial=False, gitops_encrypted=True)
    assert engines.run() == engines.same(True)
    assert engines.each("docker exec web-web-1 sh -c 'echo $SECRET'") == engines.same("third")
    engines.role(gitops_drift="correct", gitops_trial=False)
    assert engines.run() == engines.same(True)
    assert engines.each("docker exec web-web-1 sh -c 'echo $SECRET'") == engines.same("second")


def test_digests_are_wanted_and_a_registry_gets_its_login(engines: Engines, repository: Repository) -> None:
    image = f"{engines.lab.address(SERVER)}:5000/busybox"
    login = "/etc/registry-login"
    done = engines.on(
        "dt",
        f"docker tag bulkhead/busybox {image}:1 && docker --config {login} push --quiet {image}:1 >/dev/null &&"
        f"docker image inspect --format '{{{{index .RepoDigests 0}}}}' {image}:1",
    )
    assert done.returncode == 0, done.stderr
    by_digest = done.stdout.strip()
    assert by_digest.startswith(f"{image}@sha256:")
    engines.on("dt", f"docker rmi {image}:1 {by_digest}")
    engines.role(gitops_trial=False, gitops_digests=True)
    repository.commit("By name", **web("named"))
    repository.push()
    assert engines.run() == engines.same(False)
    for problem in engines.problem("web").values():
        assert "no image with a digest" in problem

    content = (web("digest")["web/compose.yaml"] or "").replace("bulkhead/busybox", by_digest)
    repository.commit("By digest", **{**web("digest"), "web/compose.yaml": content})
    repository.push()
    assert engines.run() == engines.same(False)
    for problem in engines.problem("web").values():
        assert "an image cannot be pulled, and the running version stays" in problem
    assert engines.serve() == engines.same("well")

    engines.role(gitops_trial=False, gitops_digests=True, gitops_registry_config=f"{login}/config.json")
    assert engines.run() == engines.same(True)
    deployed(engines, repository, "digest")
    assert engines.each("docker inspect --format '{{.Config.Image}}' web-web-1") == engines.same(by_digest)
    engines.each("! grep -r one-of-the-lab /etc/docker-gitops /var/lib/docker-gitops")
    engines.role(gitops_trial=False)
    repository.commit("By name again", **web("well"))
    repository.push()
    assert engines.run() == engines.same(True)


def built(version: str, checked: str = "version") -> dict[str, str | None]:
    """The project web with its files in an image that the engine builds."""
    content = (web(version, checked)["web/compose.yaml"] or "").replace("image: bulkhead/busybox", "build: .")
    dockerfile = "FROM bulkhead/busybox\nCOPY www /www\n"
    content = content.replace('    volumes: ["./www:/www:ro"]\n', "")
    return {**web(version), "web/compose.yaml": content, "web/Dockerfile": dockerfile}


def test_an_image_that_is_built_goes_back_with_its_version(engines: Engines, repository: Repository) -> None:
    images = "docker inspect --format '{{.Image}}' web-web-1; docker image inspect --format '{{.Id}}' web-web"
    repository.commit("Built", **built("built"))
    repository.push()
    assert engines.run() == engines.same(True)
    deployed(engines, repository, "built")
    before = engines.each(images)

    repository.commit("Built sick", **built("built sick", "nothing"))
    repository.push()
    assert engines.run() == engines.same(False)
    assert engines.serve() == engines.same("built")
    assert engines.each(images) == before

    engines.role(gitops_trial=True)
    repository.commit("Built sicker", **built("built sicker", "nothing"))
    repository.push()
    with engines.requests() as requests:
        assert engines.run() == engines.same(False)
    assert [list(found) for found in requests.counts.values()] == [["built"]] * len(engines.names)
    assert engines.each(images) == before
    for problem in engines.problem("web").values():
        assert "a trial of it did not become healthy" in problem

    repository.commit("Built well", **built("built well"))
    repository.push()
    assert engines.run() == engines.same(True)
    deployed(engines, repository, "built well")
    engines.role(gitops_trial=False)
    repository.commit("Not built", **{**web("well"), "web/Dockerfile": None})
    repository.push()
    assert engines.run() == engines.same(True)


def test_a_dry_run_shows_what_would_come_and_a_pause_keeps_it_out(engines: Engines, repository: Repository) -> None:
    repository.commit("Paused", **web("paused"))
    repository.push()
    before, state = engines.containers(), engines.state()
    for text in engines.each("docker-gitops diff").values():
        assert "+paused" in text
        assert "-well" in text
        assert "other: no change" in text
    assert engines.state() == state
    engines.each("docker-gitops pause 'for the audit'")
    assert engines.run() == engines.same(True)
    assert engines.containers() == before
    assert engines.metric("paused") == engines.same("1")
    for text in engines.each("docker-gitops status").values():
        assert "for the audit" in text
    engines.each("docker-gitops resume")
    assert engines.run() == engines.same(True)
    deployed(engines, repository, "paused")


# -- power ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def trap(engines: Engines) -> t.Callable[[str], None]:
    for name in ("git", "docker"):
        engines.each(f"cat >/usr/local/sbin/{name} <<'E'\n{TRAP}\nE\nchmod 755 /usr/local/sbin/{name}")

    def catch(pattern: str) -> None:
        """Start a run, and come back when what fits the pattern is to be started."""
        engines.each(f"echo '{pattern}' >/run/lab-trap; systemctl start --no-block docker-gitops.service")
        for name in engines.names:
            wait_for(lambda name=name: engines.on(name, "pgrep -xf 'sleep 36000'").returncode == 0)  # type: ignore[misc]

    return catch


@pytest.mark.parametrize("point", ["fetch", "export", "before", "during", "trial", "undo"])
def test_after_a_power_cut_the_deployment_goes_on(
    engines: Engines, repository: Repository, trap: t.Callable[[str], None], point: str
) -> None:
    engines.role(gitops_trial=point == "trial")
    engines.each("systemctl enable docker-gitops.timer")
    before = engines.serve()
    good = tree(repository)
    sick = point == "undo"
    repository.commit(point, **web(point, checked="nothing" if sick else "version"))
    repository.push()
    trap(
        {
            "fetch": "git .* fetch ",
            "export": "cat-file --batch",
            "before": "--project-name web .* up ",
            "during": "inspect --type container",  # after its containers were made, before it is known to be good
            "trial": "--project-name web-trial .* up ",
            "undo": f"trees/web/{good}/compose.yaml up ",
        }[point]
    )

    engines.cut_power()  # /run is empty then, and with it the trap

    if sick:
        wait_for(lambda: all(not state["projects"]["web"]["attempt"] for state in engines.state().values()))
        wait_for(lambda: engines.serve() == before)
        assert all("not deployed" in problem for problem in engines.problem("web").values())
    else:
        wait_for(lambda: engines.serve() == engines.same(point))
        wait_for(lambda: engines.good("web") == engines.same(repository.head))
    engines.each("systemctl stop docker-gitops.timer docker-gitops.service")
    assert engines.run() == engines.same(not sick)
    engines.each("! docker ps --all --format '{{.Names}}' | grep trial")


# -- tags, and the end ------------------------------------------------------------------------------------------------


def test_tags_are_deployed_when_they_are_signed_and_stay_where_they_are(
    engines: Engines, repository: Repository
) -> None:
    engines.role(gitops_verify="tag")
    repository.commit("Release", key=None, **web("release"))
    first = repository.tag("v1")
    repository.push("refs/tags/v1")
    assert engines.run() == engines.same(True)
    deployed(engines, repository, "release")

    repository.commit("Moved", key=None, **web("moved"))
    repository.tag("v1", "alice", "", "--force")
    repository.push("refs/tags/v1")
    refused(engines, "tag v1 was moved")
    repository.push(f"{first}:refs/tags/v1")

    repository.tag("v2", key=None)
    repository.push("refs/tags/v2")
    refused(engines, "tag v2 is not signed")
    repository.push(":refs/tags/v2")

    repository.tag("v3", key="mallory")
    repository.push("refs/tags/v3")
    refused(engines, "tag v3 is signed with")
    repository.push(":refs/tags/v3")

    new = repository.tag("v4")
    repository.push(f"{new}:refs/tags/v5")
    refused(engines, "the tag object of 'v4' under another name")
    repository.push(":refs/tags/v5", "refs/tags/v4")
    assert engines.run() == engines.same(True)
    deployed(engines, repository, "moved")


def test_nobody_gets_a_shell_and_the_key_reads_one_repository(engines: Engines) -> None:
    address = engines.lab.address("git")
    options = "-F /dev/null -o BatchMode=yes -o UserKnownHostsFile=/etc/docker-gitops/known_hosts"
    ssh = f"ssh {options} -i /etc/docker-gitops/deploy_key git@{address}"
    for name in engines.names:
        done = engines.on(name, f"{ssh} 'git-receive-pack /srv/git/deploy.git' </dev/null")
        assert "report-status" not in done.stdout  # what it would offer to somebody who may push
    assert engines.each("stat -c '%a %U' /etc/docker-gitops/deploy_key") == engines.same("600 root")
    shows = engines.each(
        "systemctl show docker-gitops.service -p NoNewPrivileges -p CapabilityBoundingSet -p ProtectSystem"
    )
    for text in shows.values():
        assert set(text.split()) == {
            "NoNewPrivileges=yes",
            "CapabilityBoundingSet=cap_dac_override",
            "ProtectSystem=strict",
        }


def test_everything_goes_again_and_containers_stay(engines: Engines, repository: Repository) -> None:
    before, served = engines.containers(), engines.serve()
    play = str(engines.lab.folder / "absent.yml")
    tasks = [{"ansible.builtin.include_role": {"name": "bulkhead.docker.docker_gitops", "tasks_from": "absent"}}]
    plays = [{"hosts": "docker_engines", "gather_facts": False, "tasks": tasks}]
    (engines.lab.folder / "absent.yml").write_text(json.dumps(plays), encoding="utf-8")

    checked = engines.lab.playbook(play, "--check", "--diff")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "changed=1" in checked.stdout
    engines.each("test -e /etc/docker-gitops/deploy_key")
    shipped = ("bulkhead.docker.gitops", "-e", "docker_gitops_state=absent")
    done = engines.lab.playbook(*shipped)
    assert done.returncode == 0, done.stdout + done.stderr

    assert engines.containers() == before
    assert engines.serve() == served
    assert "because containers have mounted them" in engines.lab.said(done)
    mounted = f"/var/lib/docker-gitops/trees/web/{tree(repository)}"
    assert engines.each("find /var/lib/docker-gitops -mindepth 3 -maxdepth 3") == engines.same(mounted)
    engines.each("rm -f /usr/local/sbin/git /usr/local/sbin/docker /usr/local/bin/notify")
    left = "find /etc /usr/local -type f -newer /root/before-files | xargs -r grep -ls gitops || true"
    assert engines.each(left) == engines.same("")
    engines.each("! systemctl cat docker-gitops.service docker-gitops.timer >/dev/null 2>&1")
    again = engines.lab.playbook(*shipped)
    assert "changed=1" not in again.stdout, again.stdout
    engines.each("docker compose -p web down >/dev/null 2>&1; docker compose -p other down >/dev/null 2>&1")
    assert "changed=1" in engines.lab.playbook(*shipped).stdout
    engines.each("! test -e /var/lib/docker-gitops")
