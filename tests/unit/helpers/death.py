"""Processes that are gone in the midst of their work, as with kill -9."""

from __future__ import annotations

import itertools
import os
import pathlib
import traceback
import typing as t

Subject = t.TypeVar("Subject")
_KILLED = 9
# Whatever changes files goes through one of these, shutil.rmtree included. pathlib of Python 3.9 keeps its own of them.
_STEPS = (
    (os, ("link", "open", "mkdir", "chmod", "fchmod", "replace", "rename", "unlink", "rmdir")),
    (pathlib.Path, ("replace", "rename", "unlink", "mkdir", "chmod", "rmdir")),
)


def die_at(step: int, work: t.Callable[[], t.Any]) -> bool:
    """Run it in a process that is gone before its n-th step; whether there was such a step."""
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, _KILLED), "the work failed before it could be killed; see above"
        return code == _KILLED
    code = 1
    try:
        steps = itertools.count(1)

        def mortal(real: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
            def call(*args: t.Any, **named: t.Any) -> t.Any:
                if next(steps) == step:
                    os._exit(_KILLED)
                return real(*args, **named)

            return call

        for owner, names in _STEPS:
            for name in names:
                setattr(owner, name, mortal(getattr(owner, name)))
        work()
        code = 0
    finally:
        end_child(code)


def end_child(code: int) -> t.NoReturn:
    """In a ``finally``: without the clean-up of the test runner, and with the exception that nobody else would see."""
    if code:
        traceback.print_exc()
    os._exit(code)


def killed(prepare: t.Callable[[int], Subject], work: t.Callable[[Subject], t.Any]) -> t.Iterator[Subject]:
    """What a kill before each step of the work leaves, one after the other, each of a subject of its own."""
    for step in itertools.count(1):
        subject = prepare(step)
        if not die_at(step, lambda subject=subject: work(subject)):  # type: ignore[misc]
            assert step > 3, "the work has hardly any steps"
            return
        yield subject


def apart(work: t.Callable[[], t.Any]) -> t.Callable[[], None]:
    """Begin it in another process; the answer waits for its end, which has to be a good one."""
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        finally:
            end_child(code)

    def end() -> None:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "the other process failed; see above"

    return end
