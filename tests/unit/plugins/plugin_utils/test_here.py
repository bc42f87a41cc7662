"""What runs on the control node, in a copy of the process that asks for it."""

from __future__ import annotations

import os
import pathlib
import signal
import sys

import pytest
from ansible_collections.bulkhead.docker.plugins.plugin_utils import here


def test_a_program_prints_its_answer_in_the_folder_where_it_is_started(tmp_path: pathlib.Path) -> None:
    program = "import os, sys; print('é', os.getcwd()); print('careful', file=sys.stderr); sys.exit(3)"
    code, output, error = here.run(program.encode(), str(tmp_path))
    assert (code, output.decode(), error) == (3, f"é {tmp_path}\n", b"careful\n")


@pytest.mark.parametrize(
    ("program", "code", "error"),
    [
        ("", 0, b""),
        ("raise SystemExit", 0, b""),
        ("raise SystemExit('a sentence')", 1, b"a sentence\n"),
        ("import os; os._exit(4)", 4, b""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, b""),
    ],
)
def test_it_ends_as_a_process_does(program: str, code: int, error: bytes) -> None:
    assert here.run(program.encode(), "/") == (code, b"", error)


def test_whatever_goes_wrong_in_it_is_told_and_ends_nothing_else() -> None:
    code, output, error = here.run(b"print('begun')\nimport nothing_of_this_name", "/")
    assert (code, output) == (1, b"begun\n")
    assert b"ModuleNotFoundError: No module named 'nothing_of_this_name'" in error
    code, _, error = here.run(b"if", "/")
    assert (code, b"SyntaxError" in error) == (1, True)


def test_much_of_both_outputs_arrives() -> None:
    program = "import sys\nfor _ in range(2):\n    print('o' * 300_000)\n    print('e' * 300_000, file=sys.stderr)"
    code, output, error = here.run(program.encode(), "/")
    assert (code, len(output), len(error)) == (0, 600_002, 600_002)


def test_nothing_of_the_caller_is_changed_or_left_open(tmp_path: pathlib.Path) -> None:
    kept = os.open(tmp_path, os.O_RDONLY)
    program = (
        "import os, signal, sys\n"
        "os.environ['BULKHEAD_TEST'] = 'x'; os.umask(0o777); sys.path.clear(); sys.modules.pop('json', None)\n"
        "print(*sorted(set(map(int, os.listdir('/proc/self/fd')))), repr(sys.stdin.read()),\n"
        "      signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)"
    )
    before = (os.getcwd(), [*sys.path], {*sys.modules}, signal.getsignal(signal.SIGTERM))  # noqa: PTH109
    mask = os.umask(0o022)
    os.umask(mask)
    handler = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        code, output, _ = here.run(program.encode(), "/")
    finally:
        signal.signal(signal.SIGTERM, handler)
    # The last one is the folder that it has listed.
    assert (code, output) == (0, b"0 1 2 3 '' True\n")
    os.close(kept)
    after = (os.getcwd(), [*sys.path], {*sys.modules}, signal.getsignal(signal.SIGTERM))  # noqa: PTH109
    assert after == before
    assert "BULKHEAD_TEST" not in os.environ
    assert os.umask(mask) == mask
