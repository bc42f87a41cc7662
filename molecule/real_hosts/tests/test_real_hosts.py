"""Engines as people have them: containers keep running, or the change is refused before anything is changed.

The tests follow one another on the same engines. Their names carry the numbers of the reported cases.
"""

from __future__ import annotations

import typing as t

import pytest
from fleet import Fleet

DROP_INS = "/etc/systemd/system/docker.service.d"
OVERRIDE = f"mkdir -p {DROP_INS}; printf '[Service]\\nExecStart=\\nExecStart=/usr/sbin/dockerd %s\\n'"
RESTART = "systemctl daemon-reload; systemctl reset-failed docker.service docker.socket; systemctl restart docker"
# A dockerd that makes its own socket takes the path of docker.socket away when it ends.
ANEW = f"{RESTART.replace('restart docker', 'stop docker.service docker.socket')}; systemctl start docker"
KEEP = "docker start keep >/dev/null"
# Files, listeners, and the processes of dockerd and of containers: not every daemon here answers.
SNAPSHOT = """find /etc/docker /etc/systemd /var/lib/bulkhead -type f 2>/dev/null | sort | xargs sha256sum
ss -Hltn | awk '{print $4}' | sort; pgrep -x dockerd; pgrep -f '^tail -f /dev/null' | sort"""
NO_HOST = "'--containerd=/run/containerd/containerd.sock'"


def containers(fleet: Fleet, names: str, only: t.Iterable[str]) -> dict[str, str]:
    """The processes of containers that run."""
    form = "'{{.Name}} {{.State.Pid}} {{.State.Running}}'"
    return fleet.sudo(f"docker inspect --format {form} {names}", only)


# -- refused before anything is changed -------------------------------------------------------------------------------

REFUSED = {
    "d11": (
        "B18",
        """echo '{"data-root": "/srv/docker", "log-driver": "local"}' >/etc/docker/daemon.json""",
        "rm /etc/docker/daemon.json",
        "/etc/docker/daemon.json says data-root /srv/docker, and the running dockerd uses /var/lib/docker",
    ),
    "d12": (
        "B04",
        f"""{OVERRIDE} {NO_HOST} >{DROP_INS}/override.conf
        echo '{{"hosts": ["tcp://127.0.0.1:2375"], "tls": false, "log-level": "warn"}}' >/etc/docker/daemon.json
        {RESTART}; docker -H tcp://127.0.0.1:2375 start keep""",
        f"rm /etc/docker/daemon.json {DROP_INS}/override.conf; {ANEW}; {KEEP}",
        "it listens on tcp://127.0.0.1:2375 instead",
    ),
    "d13": (
        "B05",
        """echo '{"tls": true, "hosts": "tcp://192.0.2.9:2376"}' >/etc/docker/daemon.json""",
        f"""{OVERRIDE} {NO_HOST} >{DROP_INS}/override.conf
        echo '{{"hosts": null, "insecure-registries": null}}' >/etc/docker/daemon.json; {ANEW}; {KEEP}""",
        "/etc/docker/daemon.json gives the key 'hosts' something other than a list of texts",
    ),
    "dt": (
        "B15",
        f"""systemd-run --quiet --unit=deny-local python3 /usr/local/lib/deny-local.py
        for i in $(seq 600); do [ -S /run/docker/plugins/deny-local.sock ] && break; sleep 0.1; done
        echo '{{"authorization-plugins": ["deny-local"]}}' >/etc/docker/daemon.json
        touch /run/allow-local; {RESTART}; {KEEP}; rm /run/allow-local""",
        f"rm /etc/docker/daemon.json; {RESTART}; {KEEP}; systemctl stop deny-local",
        "only named users",
    ),
}


@pytest.fixture(scope="module")
def refusals(fleet: Fleet) -> dict[str, tuple[str, bool, bool]]:
    """Of each engine: what it said, whether it had begun, and whether everything was the same afterwards."""
    fleet.each(lambda name: fleet.sudo(REFUSED[name][1], [name]), REFUSED)
    before, pairs = fleet.sudo(SNAPSHOT, REFUSED), fleet.issue(REFUSED)
    results = fleet.apply(pairs, only=REFUSED)
    after = fleet.sudo(SNAPSHOT, REFUSED)
    fleet.each(lambda name: fleet.sudo(REFUSED[name][2], [name]), REFUSED)
    return {
        name: (str(result.get("msg")), bool(result.get("rolled_back")), before[name] == after[name])
        for name, result in results.items()
    }


@pytest.mark.parametrize("name", REFUSED, ids=[f"{name} {case[0]}" for name, case in REFUSED.items()])
def test_refused_and_left_alone(refusals: dict[str, tuple[str, bool, bool]], name: str) -> None:
    """B04, B05, B15, B18."""
    message, begun, untouched = refusals[name]
    assert REFUSED[name][3] in message
    assert "\n" not in message
    assert not begun
    assert untouched


# -- B01, B02, B17: what depends on Docker ----------------------------------------------------------------------------

UNIT = """cat >/etc/systemd/system/{name}.service <<'END'
[Unit]
{relation}=docker.service
After=docker.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/docker run --detach --name {name} bulkhead/busybox
ExecStop=/usr/bin/docker rm --force {name}
END
"""
FOLLOWERS = {"shop": "Requires", "bound": "BindsTo", "part": "PartOf"}
WORKER = """cat >/etc/systemd/system/worker.service <<'END'
[Unit]
Requires=docker.service
After=docker.service
[Service]
ExecStartPre=-/usr/bin/docker rm --force worker
ExecStart=/usr/bin/docker run --name worker bulkhead/busybox
ExecStop=/usr/bin/docker stop --time 2 worker
END
systemctl daemon-reload; systemctl start worker
for i in $(seq 300); do docker exec worker true && exit; sleep 0.2; done 2>/dev/null; exit 1
"""
WATCHER = "docker run --detach --name watcher -v /var/run/docker.sock:/var/run/docker.sock bulkhead/busybox >/dev/null"
INODES = "stat -Lc %i /var/run/docker.sock; docker exec watcher stat -c %i /var/run/docker.sock"
ACTIVE = f"systemctl is-active {' '.join(FOLLOWERS)}"
ALL = f"keep watcher {' '.join(FOLLOWERS)}"


def test_b01_b02_b17_what_follows_docker_runs_on(fleet: Fleet) -> None:
    """B01, B02, B17."""
    open_by_tutorial = "'-H unix:///var/run/docker.sock -H tcp:// --tls=false'"
    fleet.sudo(f"{OVERRIDE} {open_by_tutorial} >{DROP_INS}/override.conf; {RESTART}; {KEEP}", ["d11"])
    fleet.sudo(WATCHER)
    units = "".join(UNIT.format(name=name, relation=relation) for name, relation in FOLLOWERS.items())
    fleet.sudo(f"{units}systemctl daemon-reload; systemctl start {' '.join(FOLLOWERS)}", fleet.systemd)
    before = {**containers(fleet, ALL, fleet.systemd), **containers(fleet, "keep watcher", ["s12"])}
    pairs = fleet.issue()

    kept = fleet.apply(pairs, only=["d12", "dt"])
    assert "docker restart" not in fleet.warnings
    made_anew = {}
    # On d11 and d13 dockerd has a socket of its own in the place of docker.socket's, on s12 there is no such unit.
    for name in ("d13", "s12", "d11"):
        made_anew |= fleet.apply(pairs, only=[name])
        assert "docker restart watcher" in fleet.warnings
    assert f"{DROP_INS}/override.conf is taken over: dockerd listens there no more" in fleet.warnings

    assert [result.get("msg", "") for result in (*kept.values(), *made_anew.values())] == [""] * 5
    assert {**containers(fleet, ALL, fleet.systemd), **containers(fleet, "keep watcher", ["s12"])} == before
    assert set(fleet.sudo(ACTIVE, fleet.systemd).values()) == {"active\nactive\nactive"}
    assert fleet.each(fleet.serves) == {name: pair.fingerprint for name, pair in pairs.items()}
    inodes = fleet.sudo(INODES)
    assert {name: len(set(found.split())) for name, found in inodes.items()} == {
        **dict.fromkeys(kept, 1),
        **dict.fromkeys(made_anew, 2),
    }
    assert not any(result["would_change"] for result in fleet.apply().values())


def test_b01_a_change_that_fails_leaves_what_follows_docker_alone(fleet: Fleet) -> None:
    """B01."""
    before = containers(fleet, ALL, fleet.systemd)
    results = fleet.apply(only=fleet.systemd, daemon_options={"exec-root": "/proc/nowhere"})
    assert containers(fleet, ALL, fleet.systemd) == before
    assert set(fleet.sudo("systemctl is-active shop part", fleet.systemd).values()) == {"active\nactive"}
    # A unit that is bound to docker.service sees it fail; its container runs on, and it is started again by hand.
    for name, state in fleet.sudo("systemctl is-active bound || true", fleet.systemd).items():
        message = str(results[name]["msg"])
        assert ("the engine answers as before" in message) is (state == "active"), (name, state, message)
        assert (f"bound.service was active and is {state} now" in message) is (state != "active"), (
            name,
            state,
            message,
        )
    again = "docker rm --force bound >/dev/null; systemctl reset-failed bound; systemctl start bound"
    fleet.sudo(f"systemctl is-active --quiet bound || {{ {again}; }}", fleet.systemd)


def test_b01_a_container_in_the_foreground_of_a_service(fleet: Fleet) -> None:
    """B01."""
    fleet.sudo(WORKER, fleet.systemd)
    before, snapshot = containers(fleet, ALL, fleet.systemd), fleet.sudo(SNAPSHOT, fleet.systemd)
    pairs = fleet.issue(fleet.systemd)

    for name, result in fleet.apply(pairs, only=fleet.systemd).items():
        assert "worker.service runs a container in the foreground" in str(result.get("msg")), name
        assert "docker_engine_allow_container_restart" in result["msg"]
    assert fleet.sudo(SNAPSHOT, fleet.systemd) == snapshot

    allowed = fleet.apply(pairs, only=fleet.systemd, allow_container_restart=True)
    assert [result.get("msg", "") for result in allowed.values()] == [""] * len(allowed)
    fleet.sudo(
        "for i in $(seq 300); do docker exec worker true && exit; sleep 0.2; done 2>/dev/null; exit 1", fleet.systemd
    )
    assert containers(fleet, ALL, fleet.systemd) == before
    assert set(fleet.sudo(f"{ACTIVE} worker", fleet.systemd).values()) == {"active\nactive\nactive\nactive"}


def test_b02_another_package_may_move_dockerd(fleet: Fleet) -> None:
    """B02: as docker-ce does, which has it in /usr/bin: our drop-in on d11 must not keep it from starting."""
    before = containers(fleet, "keep", ["d11"])
    fleet.sudo(f"mv /usr/sbin/dockerd /usr/bin/dockerd; rm {DROP_INS}/override.conf", ["d11"])
    try:
        fleet.sudo("systemctl daemon-reload; systemctl restart docker && docker info >/dev/null", ["d11"])
    finally:
        fleet.sudo("mv /usr/bin/dockerd /usr/sbin/dockerd", ["d11"])
    assert containers(fleet, "keep", ["d11"]) == before


def test_s8_volumes_of_running_containers_survive_restarts_and_a_prune(fleet: Fleet) -> None:
    """S8: with the live-restore that our run leaves on. Docker 19.03 lost track of them after two restarts."""
    hosts = fleet.systemd
    results = fleet.apply(fleet.issue(hosts), only=hosts, allow_container_restart=True)
    assert [result.get("msg", "") for result in results.values()] == [""] * len(results)
    fleet.sudo(
        "docker run --detach --name store --volume stored:/named --volume /anonymous bulkhead/busybox >/dev/null;"
        "docker exec store touch /named/kept /anonymous/kept",
        hosts,
    )
    try:
        for _ in range(2):
            fleet.sudo("systemctl reset-failed docker; systemctl restart docker && docker info >/dev/null", hosts)
        fleet.sudo("docker volume create leftover >/dev/null; docker volume prune --all --force || true", hosts)
        fleet.sudo("docker volume prune --force >/dev/null", hosts)
        fleet.sudo("docker exec store ls /named/kept /anonymous/kept", hosts)
        mounts = "docker inspect --format '{{range .Mounts}}{{.Name}} {{end}}' store"
        fleet.sudo(f"for volume in $({mounts}); do docker volume inspect $volume >/dev/null || exit 1; done", hosts)
    finally:
        fleet.sudo("docker rm --force --volumes store; docker volume rm --force stored", hosts)
