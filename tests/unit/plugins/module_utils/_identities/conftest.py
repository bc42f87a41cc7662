"""An identity as the role leaves it."""

from __future__ import annotations

import dataclasses
import pathlib

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._identities import status
from ansible_collections.bulkhead.docker.plugins.module_utils._identities.layout import MODES, Layout
from helpers.pki import CLIENT, Authority


@dataclasses.dataclass(frozen=True)
class Issued:
    """A CA, and the identity alice in a home, whose certificate is valid for 100 days."""

    authority: Authority
    layout: Layout
    scratch: pathlib.Path

    def rule(self, bundle: str | None = None, **changes: object) -> status.Rule:
        rule = status.Rule(self.authority.pem if bundle is None else bundle, "P-256", 30)
        return dataclasses.replace(rule, **changes)  # type: ignore[arg-type]

    def pair(self, name: str = "alice", days: int = 100) -> tuple[str, str]:
        """Another certificate and its key, as text."""
        cert, key = self.authority.pair(self.scratch, name, CLIENT, days=days)
        return pathlib.Path(cert).read_text(encoding="ascii"), pathlib.Path(key).read_text(encoding="ascii")


@pytest.fixture
def issued(tmp_path: pathlib.Path) -> Issued:
    made = Issued(Authority("ca", days=900), Layout(tmp_path / "home", "alice"), tmp_path / "scratch")
    made.scratch.mkdir()
    cert, key = made.pair()
    for folder in (made.layout.folder, made.layout.pending):
        folder.mkdir(parents=True)
        folder.chmod(0o700)
    for name, text in {"cert.pem": cert, "key.pem": key, "ca.pem": made.authority.pem}.items():
        (made.layout.folder / name).write_text(text, encoding="ascii")
        (made.layout.folder / name).chmod(MODES[name])
    return made
