"""Keeps the bytecode of what is imported from zip archives.

Ansible sends each module as an archive of its sources, and Python compiles each of those twice: to run it, and to tell
its file name. That is a third of what tests of roles cost. A Python that has this folder on its path does it once.
"""

from __future__ import annotations

import contextlib
import hashlib
import marshal
import os
import sys
import types
import zipimport
from pathlib import Path


class Importer(zipimport.zipimporter):
    def get_filename(self, fullname: str) -> str:
        name = self.prefix + fullname.rpartition(".")[2]
        return f"{self.archive}/{name}/__init__.py" if self.is_package(fullname) else f"{self.archive}/{name}.py"

    def get_code(self, fullname: str) -> types.CodeType:
        source = (self.get_source(fullname) or "").encode()
        kept = Path(os.environ["TEST_BYTECODE"], f"{sys.implementation.cache_tag}-{hashlib.sha256(source).hexdigest()}")
        with contextlib.suppress(OSError, EOFError, ValueError):
            code: types.CodeType = marshal.loads(kept.read_bytes())  # noqa: S302  # our own
            return code
        code = compile(source, self.get_filename(fullname), "exec", dont_inherit=True)
        with contextlib.suppress(OSError):  # somebody else's folder
            new = kept.with_name(f"{kept.name}.{os.getpid()}")
            new.write_bytes(marshal.dumps(code))
            new.replace(kept)
        return code


if "TEST_BYTECODE" in os.environ:
    sys.path_hooks[:] = [Importer if hook is zipimport.zipimporter else hook for hook in sys.path_hooks]
