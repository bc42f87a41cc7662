# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the holder of a restricted account can do, tried out with ssh as a Docker client uses it."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import subprocess
import typing as t

_DIAL = "docker system dial-stdio"
_PING = b"GET /_ping HTTP/1.0\r\n\r\n"
_FORWARDED = "remote port forwarding failed"


@dataclasses.dataclass(frozen=True)
class Attempt:
    """Something that has to be refused."""

    what: str
    command: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    stdin: bytes = b""
    says: str = ""  # in ssh's complaint, where the exit code alone would prove nothing


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
class Result:
    """What was found out."""

    refused: dict[str, bool]
    findings: list[str]


def prove(address: str, account: str, port: int | None, timeout: int) -> Result:
    """Try the allowed first; where that fails, a refusal proves nothing."""
    base = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={timeout}", "-o", "ControlPath=none", "-l", account]
    base += ["-p", str(port)] if port else []
    allowed = _try(base, address, Attempt("the API", (_DIAL,), stdin=_PING), timeout)
    if b" 200 OK" not in allowed.stdout:
        return Result(
            {}, [f"{account}@{address} does not reach the Docker API: {_last(allowed.stderr) or 'no answer'}"]
        )
    # A forwarding is cleared by the settings of the contexts, so that it would not even be asked for.
    base += ["-o", "ClearAllForwardings=no"]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda attempt: _try(base, address, attempt, timeout), ATTEMPTS))
    refused = {attempt.what: _is_refusal(attempt, answer) for attempt, answer in zip(ATTEMPTS, done)}
    return Result(refused, [f"{account}@{address} is not refused {what}" for what, was in refused.items() if not was])


def _try(base: t.Sequence[str], address: str, attempt: Attempt, timeout: int) -> subprocess.CompletedProcess[bytes]:
    command = [*base, *attempt.options, "--", address, *attempt.command]
    try:
        return subprocess.run(command, input=attempt.stdin, capture_output=True, check=False, timeout=timeout + 10)
    except subprocess.TimeoutExpired as error:
        return subprocess.CompletedProcess(command, 0, error.stdout or b"", b"it did not end")
    except OSError as error:
        return subprocess.CompletedProcess(command, 0, b"", f"ssh cannot be started: {error.strerror}".encode())


def _is_refusal(attempt: Attempt, answer: subprocess.CompletedProcess[bytes]) -> bool:
    return answer.returncode != 0 and answer.stdout == b"" and attempt.says.encode() in answer.stderr


def _last(text: bytes) -> str:
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""
