# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs on the control node what Ansible would give to a new Python there, in a copy of the process that asks for it.

The program is the one that Ansible has packed, with its options, and its answer is read the same way. A new Python
would load Ansible's library again and compile it: four fifths of the time that a module takes. A copy has it already,
and is as far apart: whatever the module does to its process ends with it.
"""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import signal
import sys
import tempfile
import traceback
import typing as t


def run(program: bytes, folder: str) -> tuple[int, bytes, bytes]:
    """Exit code, standard output and standard error of a Python program that is started in a folder."""
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as error:
        child = os.fork()
        if child == 0:
            _become(program, folder, writing, error.fileno())
        os.close(writing)
        with os.fdopen(reading, "rb") as answer:
            output = answer.read()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        error.seek(0)
        return code, output, error.read()


def _become(program: bytes, folder: str, output: int, error: int) -> t.NoReturn:
    """In the copy: leave behind what is Ansible's, and do what the program says."""
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (output, 1), (error, 2)):
            os.dup2(source, target)
        # Those that are open: the highest number that is possible may be a thousand million.
        numbers = [int(path.name) for path in pathlib.Path("/dev/fd").iterdir()]
        for number in filter(lambda number: number > 2, numbers):
            with contextlib.suppress(OSError):  # of the list itself
                os.close(number)
        sys.stdin, sys.stdout, sys.stderr = (
            io.TextIOWrapper(os.fdopen(number, mode), encoding="utf-8", errors="surrogateescape")
            for number, mode in ((0, "rb"), (1, "wb"), (2, "wb"))
        )
        os.chdir(folder)
        sys.argv = ["module"]
        # In Ansible's process its library shows warnings itself, since ansible-core 2.19; in a module it returns them.
        library = sys.modules.get("ansible.module_utils._internal")
        if library:
            library.is_controller = False  # type: ignore[attr-defined]
        exec(compile(program, "module", "exec"), {"__name__": "__main__"})  # noqa: S102  # as Python would
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001  # which a process of its own would end with, too
        traceback.print_exc()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
