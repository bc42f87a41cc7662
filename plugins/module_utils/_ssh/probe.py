# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the holder of a restricted account can do, tried out with ssh as a Docker client uses it."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import os
import re
import subprocess
import threading
import typing as t

_DIAL = "docker system dial-stdio"
_PING = b"GET /_ping HTTP/1.0\r\n\r\n"
_FORWARDED = "remote port forwarding failed"
_AT_ONCE = 4  # endpoints, and attempts on each: sshd shuts out addresses that open too many connections at once
_CAUSE = 600  # characters of ssh's words, from their end; a banner comes before the cause and can be long
# Lines of ssh that go with others and say nothing themselves.
_NOISE = (
    "** ",
    "Add correct host key",
    "IT IS POSSIBLE",
    "It is also possible",
    "Please contact",
    "Pseudo-terminal will not be allocated",
    "Someone could be",
    "Warning: Permanently added",
    "remove with:",
)
# ssh's own exit code, and its words where the connection went before anything could be refused.
_FAILED = 255
_LOST = re.compile(
    rb"^(kex_exchange_identification:|ssh_exchange_identification:|ssh: |banner exchange:|client_loop:"
    rb"|Connection (closed|reset|timed out) (by|during) )",
    re.MULTILINE,
)


@dataclasses.dataclass(frozen=True)
class Attempt:
    """Something that has to be refused."""

    what: str
    command: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    stdin: bytes = b""
    says: str = ""  # in ssh's complaint, where the exit code alone would show nothing


ATTEMPTS = (
    Attempt("a command", ("id",)),
    Attempt("a shell", stdin=b"id\n"),
    Attempt("a terminal", options=("-tt",), stdin=b"id\n"),
    Attempt("a command behind the allowed one", (f"{_DIAL}; id",)),
    Attempt("another docker command", ("docker ps",)),
    Attempt("another socket", ("docker --host unix:///run/other.sock system dial-stdio",)),
    Attempt("file transfer", ("sftp",), ("-s",)),
    Attempt("a connection through the engine", options=("-W", "127.0.0.1:22")),
    Attempt(
        "a port on the engine", (_DIAL,), ("-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:9"), says=_FORWARDED
    ),
    Attempt(
        "a login without a key",
        (_DIAL,),
        ("-o", "PubkeyAuthentication=no", "-o", "PreferredAuthentications=password,keyboard-interactive"),
        says="Permission denied (publickey).",
    ),
)


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """An account of an engine; without a port, the user's settings of ssh say it."""

    name: str
    address: str
    account: str
    port: int | None = None

    @property
    def where(self) -> str:
        port = f" port {self.port}" if self.port else ""
        return f"{self.account}@{self.address}{port}"


def check_endpoints(endpoints: t.Sequence[Endpoint], timeout: int) -> dict[str, t.Any]:
    """Ask all endpoints, a few at the same time; the result is what docker_ssh_endpoint_info returns."""
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        results = list(pool.map(lambda endpoint: check_endpoint(endpoint, timeout), endpoints))
    return {"ok": all(result["ok"] for result in results), "endpoints": results}


def check_endpoint(endpoint: Endpoint, timeout: int) -> dict[str, t.Any]:
    """Try what is allowed first; where that fails, a refusal shows nothing."""
    base = _ssh(endpoint, timeout)
    allowed = _try(base, endpoint.address, Attempt("the API", (_DIAL,), stdin=_PING), timeout)
    # A gateway that refuses even this is one that the account reaches.
    if b" 200 OK" not in allowed.stdout and b"the gateway of this engine refuses" not in allowed.stdout:
        cause = _cause(allowed.stderr) or f"no answer, and ssh ended with {allowed.returncode}"
        return _result(endpoint, {}, [f"{endpoint.where} does not reach the Docker API ({cause})"])
    # A forwarding is cleared by the settings of the contexts, so that it would not even be asked for.
    base += ["-o", "ClearAllForwardings=no"]
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        done = list(pool.map(lambda attempt: _try(base, endpoint.address, attempt, timeout), ATTEMPTS))
    refused = {attempt.what: _is_refusal(attempt, answer) for attempt, answer in zip(ATTEMPTS, done)}
    lost = [attempt.what for attempt, answer in zip(ATTEMPTS, done) if _is_lost(answer)]
    findings = [
        f"{endpoint.where} is not refused {attempt.what}" + (f" ({_cause(answer.stderr)})" if answer.stderr else "")
        for attempt, answer in zip(ATTEMPTS, done)
        if not refused[attempt.what] and not _is_lost(answer)
    ]
    if lost:
        cause = next(_cause(answer.stderr) for answer in done if _is_lost(answer))
        findings.append(
            f"{endpoint.where} gives no verdict on {', '.join(lost)} ({cause}); "
            "sshd may have shut this address out for a while: name it in docker_ssh_client_networks, or try again in "
            "a few minutes"
        )
    return _result(endpoint, refused, findings)


def ask(endpoint: Endpoint, requests: bytes, timeout: int) -> tuple[bytes, str]:
    """What the API answers to requests, and otherwise why there is no answer. The last one has to close the connection.

    The client's direction stays open until then: HAProxy 3.2 answers the first request alone of one that is closed.
    """
    reader, writer = os.pipe()
    feeder = threading.Thread(target=_feed, args=(writer, requests), daemon=True)
    feeder.start()
    try:
        done = _try(_ssh(endpoint, timeout), endpoint.address, Attempt("the API", (_DIAL,)), timeout, reader)
    finally:
        os.close(reader)
        feeder.join()
        os.close(writer)
    return done.stdout, _cause(done.stderr) or f"ssh ended with {done.returncode}"


def _feed(pipe: int, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):  # ssh has ended before it read all
        while data:
            data = data[os.write(pipe, data) :]


def _ssh(endpoint: Endpoint, timeout: int) -> list[str]:
    base = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={timeout}", "-o", "ControlPath=none"]
    # INFO, since the user's settings may be quieter, and ERROR would leave out that the engine closed the connection.
    base += ["-o", "LogLevel=INFO", "-l", endpoint.account]
    return [*base, *(["-p", str(endpoint.port)] if endpoint.port else [])]


def _result(endpoint: Endpoint, refused: dict[str, bool], findings: list[str]) -> dict[str, t.Any]:
    return {
        "name": endpoint.name,
        "address": endpoint.address,
        "account": endpoint.account,
        "ok": not findings,
        "findings": findings,
        "refused": refused,
    }


def _try(
    base: t.Sequence[str], address: str, attempt: Attempt, timeout: int, stdin: int | None = None
) -> subprocess.CompletedProcess[bytes]:
    command = [*base, *attempt.options, "--", address, *attempt.command]
    source: dict[str, t.Any] = {"input": attempt.stdin} if stdin is None else {"stdin": stdin}
    try:
        return subprocess.run(command, **source, capture_output=True, check=False, timeout=timeout + 10)
    except subprocess.TimeoutExpired as error:
        said = (error.stderr or b"") + f"\nssh did not end within {timeout + 10} seconds".encode()
        return subprocess.CompletedProcess(command, 0, error.stdout or b"", said)
    except (OSError, ValueError) as error:  # a NUL in a name
        return subprocess.CompletedProcess(command, 0, b"", f"ssh cannot be started: {error}".encode())


def _is_refusal(attempt: Attempt, answer: subprocess.CompletedProcess[bytes]) -> bool:
    failed = answer.returncode != 0 and answer.stdout == b"" and not _is_lost(answer)
    return failed and attempt.says.encode() in answer.stderr


def _is_lost(answer: subprocess.CompletedProcess[bytes]) -> bool:
    """Whether it never came to the attempt, as when sshd shuts an address out for a while."""
    return answer.returncode == _FAILED and _LOST.search(answer.stderr) is not None


def _cause(text: bytes) -> str:
    """What ssh said, as one phrase: all its lines, for the last one alone often does not say why."""
    lines = (line.strip(" \t@.") for line in text.decode("utf-8", "replace").splitlines())
    phrase = "; ".join(dict.fromkeys(line for line in lines if line and not line.startswith(_NOISE)))
    phrase = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in phrase)
    return phrase if len(phrase) <= _CAUSE else f"… {phrase[-_CAUSE:]}"
