"""Somebody with an account tries everything else."""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from people import Person, Sign
from testinfra.host import Host

pytestmark = pytest.mark.only_on("d11", "dt")

DIAL = "docker system dial-stdio"
COMMANDS = {
    "a command": "id",
    "a shell": "/bin/sh -i",
    "a command behind a semicolon": f"{DIAL}; id",
    "a command on the next line": f"{DIAL}\nid",
    "a command on the line before": f"id\n{DIAL}",
    "a command substituted": "docker system dial-stdio $(id)",
    "a command in backquotes": "`id`",
    "a pipe": f"{DIAL} | id",
    "a redirection": f"{DIAL} >/tmp/x",
    "an option more": f"{DIAL} --help",
    "a space more": "docker  system dial-stdio",
    "a space at the end": f"{DIAL} ",
    "a newline at the end": f"{DIAL}\n",
    "a path in front": f"/usr/bin/{DIAL}",
    "capital letters": "Docker system dial-stdio",
    "a variable in front": f"LD_PRELOAD=/tmp/x {DIAL}",
    "sh -c": f"sh -c '{DIAL}'",
    "docker run": "docker run -v /:/host bulkhead/busybox",
    "docker exec": "docker exec keep id",
    "docker with a context": f"docker --context x {DIAL[7:]}",
    "docker with a configuration": f"docker --config /tmp {DIAL[7:]}",
    "another socket": "docker --host unix:///tmp/x.sock system dial-stdio",
    "another socket, with equals": "docker --host=unix:///tmp/x.sock system dial-stdio",
    "a socket that only starts like it": "docker --host unix:///var/run/docker.sock.x system dial-stdio",
    "a socket through a parent": "docker --host unix:///var/run/../run/docker.sock system dial-stdio",
    "another host": "docker --host tcp://127.0.0.1:2375 system dial-stdio",
    "a host by SSH": "docker --host ssh://root@localhost system dial-stdio",
    "a quoted socket with a command": "docker --host='unix:///var/run/docker.sock;id' system dial-stdio",
    "rsync": "rsync --server --sender -logDtpre.iLsfxC . /etc/",
    "the old scp": "scp -f /etc/passwd",
    "the sftp server": "/usr/lib/openssh/sftp-server",
    "su": "su - root",
    "sudo": "sudo -n id",
    "crontab": "crontab -l",
    "at": "at now",
    "another shell": "chsh -s /bin/bash",
    "a new key": "sh -c 'echo ssh-ed25519 AAAA >>.ssh/authorized_keys'",
    "the gate with an argument": "/usr/local/lib/bulkhead/docker-ssh-gate --help",
    "nothing but a space": " ",
}


def log(host: Host) -> str:
    with host.sudo():
        return str(host.check_output("journalctl --identifier docker-ssh --output cat --no-pager"))


@pytest.mark.parametrize("what", COMMANDS)
def test_commands_are_refused(alice: Person, name: str, what: str) -> None:
    """Through one connection, as a client with a ControlMaster sends them."""
    shared = (f"-oControlPath={alice.lab.folder}/master-%h", "-oControlMaster=auto", "-oControlPersist=10")
    done = alice.asks(name, COMMANDS[what], options=shared)
    assert (done.returncode, done.stdout) == (126, b"")
    assert b"can use the Docker API and nothing else" in done.stderr


def test_refusals_are_in_the_auth_log_with_user_address_and_request(host: Host, alice: Person, name: str) -> None:
    alice.asks(name, "id\x1b[2J\nMay  1 00:00:00 sshd: forged " + "x" * 300)
    last = log(host).splitlines()[-1]
    assert last.startswith(r"refused 'id\x1b[2J\nMay  1 00:00:00 sshd: forged xxx"), last
    assert " for docker-alice from " in last
    assert len(last) < 300
    facility = "SYSLOG_FACILITY=10"  # authpriv, which Debian writes to auth.log and Red Hat to secure
    with host.sudo():
        assert (
            host.check_output(f"journalctl -t docker-ssh {facility} --output cat --no-pager").splitlines()[-1] == last
        )


@pytest.mark.parametrize("options", [(), ("-tt",)])
def test_there_is_no_shell_and_no_terminal(alice: Person, name: str, options: tuple[str, ...]) -> None:
    done = alice.asks(name, options=options, stdin=b"id\nexit\n")
    assert b"PTY allocation" in done.stderr if options else done.returncode == 126
    assert done.returncode != 0
    assert done.stdout == b""


@pytest.mark.parametrize("subsystem", ["sftp", "netconf", DIAL, "/bin/sh"])
def test_subsystems_are_refused(alice: Person, name: str, subsystem: str) -> None:
    done = alice.asks(name, subsystem, options=("-s",))
    assert done.returncode != 0
    assert done.stdout == b""


@pytest.mark.parametrize("command", [["sftp"], ["scp", "-O"], ["scp", "-s"]])
def test_no_file_is_transferred(alice: Person, name: str, command: list[str], tmp_path: pathlib.Path) -> None:
    options = alice.ssh(name)[1:-1]
    source = f"{alice.lab.address(name)}:/etc/passwd"
    done = subprocess.run(
        [*command, *options, source, str(tmp_path / "passwd")], capture_output=True, check=False, timeout=120
    )
    assert done.returncode != 0
    assert not (tmp_path / "passwd").exists()


@contextlib.contextmanager
def session(alice: Person, engine: str, *options: str, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """An allowed session that stays open, with something on top of it that is not."""
    process = subprocess.Popen(
        alice.ssh(engine, *DIAL.split(), options=options),
        env=os.environ | more,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin and process.stdout
    process.stdin.write(b"GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n")
    process.stdin.flush()
    try:
        assert process.stdout.readline() == b"HTTP/1.1 200 OK\r\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def nothing_comes(address: tuple[str, int] | str, request: bytes = b"") -> bool:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(60)
        client.connect(address)
        try:
            client.sendall(request)
            return client.recv(100) == b""
        except (BrokenPipeError, ConnectionResetError):  # ssh was told so before it had read the request, or after
            return True


def test_no_port_and_no_socket_is_forwarded_to_the_client(alice: Person, name: str, tmp_path: pathlib.Path) -> None:
    port, unix = free_port(), f"{tmp_path}/docker.sock"
    forwards = (f"-L127.0.0.1:{port}:127.0.0.1:22", f"-L{unix}:/run/docker.sock")
    with session(alice, name, *forwards):
        assert nothing_comes(("127.0.0.1", port))
        assert nothing_comes(unix, b"GET /_ping HTTP/1.0\r\n\r\n")


def test_no_port_is_forwarded_by_choice_of_the_client(alice: Person, name: str) -> None:
    port = free_port()
    with session(alice, name, f"-D127.0.0.1:{port}"), socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(60)
        client.sendall(b"\x05\x01\x00")
        assert client.recv(2) == b"\x05\x00"  # so says the local ssh
        client.sendall(b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x16")
        assert client.recv(100)[1:2] != b"\x00", "the engine connected it"


@pytest.mark.parametrize("forward", ["-R0:127.0.0.1:22", "-R/tmp/docker-ssh-test:127.0.0.1:22", "-R0"])
def test_nothing_is_forwarded_from_the_engine(alice: Person, name: str, forward: str) -> None:
    done = alice.asks(name, *DIAL.split(), options=("-oExitOnForwardFailure=yes", forward))
    assert done.returncode == 255
    assert b"remote port forwarding failed" in done.stderr


def test_standard_input_is_not_forwarded(alice: Person, name: str) -> None:
    done = alice.asks(name, options=("-W127.0.0.1:22",))
    assert done.returncode == 255
    assert b"SSH-2.0" not in done.stdout


def test_no_agent_no_x11_and_no_variable_reach_the_engine(host: Host, alice: Person, name: str) -> None:
    names = ("LD_PRELOAD", "DOCKER_HOST", "PYTHONPATH", "LC_TEST", "LANG")
    sent = tuple(f"-oSetEnv={' '.join(f'{variable}=/sent' for variable in names)}" for _ in (1,))
    with contextlib.ExitStack() as stack:
        with host.sudo():
            ports = host.check_output("ss -Hltn | wc --lines")
        agent = start_agent(stack)
        stack.enter_context(session(alice, name, "-A", "-X", *sent, SSH_AUTH_SOCK=agent, DISPLAY="localhost:99"))
        with host.sudo():
            uid = host.check_output("id --user docker-alice")
            gate = host.check_output(f"pgrep --newest -u {uid} -f docker-ssh-gate")
            environment = host.check_output(f"tr '\\0' '\\n' </proc/{gate}/environ")
            assert "SSH_ORIGINAL_COMMAND" in environment
            for variable in ("SSH_AUTH_SOCK", "DISPLAY", "/sent"):
                assert variable not in environment
            assert host.check_output("ss -Hltn | wc --lines") == ports
            assert host.check_output(f"find /tmp /var/lib/docker-ssh -user {uid}") == ""


def start_agent(stack: contextlib.ExitStack) -> str:
    done = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True)
    variables = dict(part.split("=") for part in done.stdout.replace(";", "\n").split() if "=" in part)
    stack.callback(os.kill, int(variables["SSH_AGENT_PID"]), 15)
    return variables["SSH_AUTH_SOCK"]


def test_no_tunnel_is_opened(host: Host, alice: Person, name: str) -> None:
    """Where the client has no tun device, ssh asks for nothing, so the setting is looked at as well."""
    done = alice.asks(name, *DIAL.split(), options=("-oExitOnForwardFailure=yes", "-wany:any"))
    assert done.returncode != 0
    with host.sudo():
        assert "tun" not in host.check_output("ls /sys/class/net")
        settings = host.check_output("sshd -T -C user=docker-alice,host=x,addr=192.0.2.1").lower().splitlines()
    assert "permittunnel no" in settings


def test_files_in_the_home_would_not_count(host: Host, alice: Person, name: str) -> None:
    """Nobody but root can put them there; if somebody did, they would do nothing."""
    mallory = Person(alice.lab, "docker-alice", "mallory")
    folder = "/var/lib/docker-ssh/.ssh"
    key = (alice.lab.folder / "mallory.pub").read_text()
    with host.sudo():
        host.check_output(
            f"mkdir {folder} && echo '{key}' >{folder}/authorized_keys && echo 'touch /tmp/rc' >{folder}/rc && "
            f"echo LD_PRELOAD=/tmp/x.so >{folder}/environment && chmod -R a+rX {folder}"
        )
        try:
            assert alice.gets_in(name)
            assert b"ERROR: ld.so" not in alice.asks(name, *DIAL.split()).stderr
            assert not host.file("/tmp/rc").exists
            assert not mallory.gets_in(name)
        finally:
            host.check_output(f"rm -r {folder}")


def test_the_account_can_write_nothing_of_its_own(host: Host) -> None:
    with host.sudo():
        files = host.check_output(
            "find /var/lib/docker-ssh /etc/ssh /usr/local/lib/bulkhead ! -user root -o -perm /022 ! -type l"
        )
        assert files == ""
        assert host.check_output("getent shadow docker-alice").split(":")[1] == "*"


def test_no_other_way_to_log_in_is_offered(alice: Person, name: str) -> None:
    options = ("-oPreferredAuthentications=password,keyboard-interactive,hostbased,gssapi-with-mic", "-oBatchMode=no")
    done = alice.asks(name, "id", options=(*options, "-oNumberOfPasswordPrompts=1"))
    assert done.returncode == 255
    assert b"Permission denied (publickey)." in done.stderr


def test_su_and_what_else_starts_the_login_shell_get_the_gate(host: Host) -> None:
    assert host.run("echo x | su docker-alice -c id").rc != 0  # as ops: there is no password
    with host.sudo():
        done = host.run("su - docker-alice -c id </dev/null")
    assert done.rc == 126
    assert "uid=" not in done.stdout


def test_strangers_do_not_get_in(alice: Person, bob: Person, name: str) -> None:
    lab = alice.lab
    assert not Person(lab, "docker-alice", "mallory").gets_in(name)
    assert not Person(lab, "docker-elsewhere", "bob").gets_in(name), "the key is good for other networks only"
    assert not Person(lab, "docker-over", "bob").gets_in(name), "the time of that account is over"
    assert not Person(lab, "docker-bob", "bob").gets_in(name), "the key without its certificate"


def test_certificates_open_the_account_of_their_principal_only(lab: Any, sign: Sign, bob: Person, name: str) -> None:
    assert bob.gets_in(name)
    assert bob.asks(name, "id").returncode == 126
    assert not Person(lab, "docker-bob", "bob", sign("ca", "somebody")).gets_in(name)
    assert not Person(lab, "docker-bob", "bob", sign("mallory", "bob@example.com")).gets_in(name)
    assert not Person(lab, "docker-alice", "bob", sign("ca", "docker-alice")).gets_in(name), "alice has no principals"


def test_what_is_open_is_only_what_was_asked_for(host: Host) -> None:
    """Time for a session to end that was cut, and then nothing of the accounts runs."""
    end = time.monotonic() + 60
    with host.sudo():
        while host.run("pgrep -f [d]ocker-ssh-gate").rc == 0:
            assert time.monotonic() < end, host.check_output("ps -ef")
            time.sleep(0.2)
