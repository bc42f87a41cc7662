# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work that a lost connection cannot end: it runs in a process with a session, and without a terminal, of its own."""

from __future__ import annotations

import contextlib
import json
import os
import select
import traceback
import typing as t


class DetachedProcessError(Exception):
    """The process ended without an answer."""


def run(work: t.Callable[[t.Callable[[], bool]], t.Any]) -> t.Any:
    """The answer of ``work``, which JSON must be able to carry; the work goes on when the caller is killed.

    It is given a function that tells whether there is still a caller, for as long as it has not begun.
    """
    reader, writer = os.pipe()
    caller = os.getpid()
    child = os.fork()
    if not child:
        os.close(reader)
        _work(lambda: work(lambda: os.getppid() == caller), writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        _wait(reader)
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if not text:
        raise DetachedProcessError(f"the process of the change was ended from outside (status {status})")
    answer = json.loads(text)
    if "crash" in answer:
        raise RuntimeError(answer["crash"])
    return answer["answer"]


def _wait(reader: int) -> None:
    """Until there is an answer. A caller whose own output nobody reads any more, as after a lost connection, ends."""
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    with contextlib.suppress(OSError):
        os.fstat(1)
        poll.register(1, 0)
    while reader not in (ready := [descriptor for descriptor, _ in poll.poll()]):
        if 1 in ready:
            raise DetachedProcessError("nobody waits for the answer any more")


def _work(work: t.Callable[[], t.Any], writer: int) -> t.NoReturn:
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):  # held open, they would keep the session of the caller alive
            os.dup2(null, stream)
        try:
            answer = {"answer": work()}
        except BaseException:  # noqa: BLE001  # the last line of a process; the caller raises it again
            answer = {"crash": traceback.format_exc()}
        with contextlib.suppress(OSError), os.fdopen(writer, "wb") as pipe:  # the caller may be gone
            pipe.write(json.dumps(answer).encode())
    finally:
        os._exit(0)
