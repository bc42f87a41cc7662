"""Keeps the bytecode of what is imported from zip archives, that of templates, and the modules that Ansible has packed.

Ansible sends each module as an archive of its sources, and Python compiles each of those twice: to run it, and to tell
its file name. That is a third of what tests of roles cost. A Python that has this folder on its path does it once.
Jinja compiles each template anew in the process of each task, which is a fifth of what a playbook costs.
Ansible packs each module once in a run, with all that it imports, which is another fifth of a playbook.
"""

from __future__ import annotations

import contextlib
import hashlib
import marshal
import os
import sys
import types
import zipimport
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[4]


class Importer(zipimport.zipimporter):
    def get_filename(self, fullname: str) -> str:
        name = self.prefix + fullname.rpartition(".")[2]
        return f"{self.archive}/{name}/__init__.py" if self.is_package(fullname) else f"{self.archive}/{name}.py"

    def get_code(self, fullname: str) -> types.CodeType:
        source = self.get_source(fullname) or ""
        return kept(source, lambda: compile(source, self.get_filename(fullname), "exec", dont_inherit=True))


def kept(source: str, compiled: Callable[[], types.CodeType]) -> types.CodeType:
    digest = hashlib.sha256(source.encode()).hexdigest()
    path = Path(os.environ["TEST_BYTECODE"], f"{sys.implementation.cache_tag}-{digest}")
    with contextlib.suppress(OSError, EOFError, ValueError):
        code: types.CodeType = marshal.loads(path.read_bytes())  # noqa: S302  # our own
        return code
    code = compiled()
    with contextlib.suppress(OSError):  # somebody else's folder
        new = path.with_name(f"{path.name}.{os.getpid()}")
        new.write_bytes(marshal.dumps(code))
        new.replace(path)
    return code


def keep_templates() -> None:
    """On cores whose context of a compilation is known; on others, templates are compiled as ever."""
    try:
        import jinja2
        from ansible._internal._templating._jinja_bits import _TemplateCompileContext
        from ansible.release import __version__
    except ImportError:
        return
    anew = jinja2.Environment.compile
    marks = ("start_string", "end_string")
    settings = [f"{kind}_{mark}" for kind in ("block", "variable", "comment") for mark in marks]
    settings += ["line_statement_prefix", "line_comment_prefix", "trim_blocks", "lstrip_blocks", "newline_sequence"]
    settings += ["keep_trailing_newline", "optimized", "autoescape"]

    def compiled(
        self: jinja2.Environment, source: object, name: None = None, filename: None = None, *rest: bool
    ) -> types.CodeType | str:
        if name or filename or rest:
            return anew(self, source, name, filename, *rest)  # type: ignore[no-any-return, call-overload]
        decides = [__version__, jinja2.__version__, type(self), sorted(self.extensions)]
        decides += [_TemplateCompileContext.current(optional=True), *(getattr(self, setting) for setting in settings)]
        return kept(f"{decides} {source!r}", lambda: anew(self, source))  # type: ignore[call-overload]

    jinja2.Environment.compile = compiled  # type: ignore[method-assign, assignment]


def keep_packed_modules() -> None:
    """In a folder for these sources and this core, in the place of the one that a run has for itself.

    On cores that lock it between processes, which 2.18 does not.
    """
    try:
        import ansible.constants
        from ansible._internal import _locking  # noqa: F401
        from ansible.release import __version__
    except ImportError:
        return
    with contextlib.suppress(OSError):  # a file that goes, or somebody else's folder
        found = {str(path): path.stat() for path in sorted((ROOT / "plugins").rglob("*.py"))}
        sources = [(path, stat.st_mtime_ns, stat.st_size) for path, stat in found.items()]
        digest = hashlib.sha256(repr([__version__, sys.prefix, sources]).encode()).hexdigest()
        shared = Path(os.environ["TEST_BYTECODE"], f"packed-{digest}")
        shared.mkdir(exist_ok=True)
        Path(ansible.constants.DEFAULT_LOCAL_TMP, "ansiballz_cache").symlink_to(shared)


if "TEST_BYTECODE" in os.environ:
    sys.path_hooks[:] = [Importer if hook is zipimport.zipimporter else hook for hook in sys.path_hooks]
    if any(Path(argument).name == "ansible-playbook" for argument in sys.orig_argv[:2]):
        keep_templates()
        keep_packed_modules()
