"""Certificates as the collection makes them, for tests of what is written and of what is refused."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Identity:
    """A client's three files."""

    ca: Path
    cert: Path
    key: Path


@pytest.fixture(scope="session")
def identities(tmp_path_factory: pytest.TempPathFactory) -> list[Identity]:
    """Two clients of two CAs."""
    made = []
    for number in (1, 2):
        folder = tmp_path_factory.mktemp(f"identity{number}")
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        for name in ("ca", "cert"):
            files = ("-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem")
            subprocess.run(
                ["openssl", "req", "-x509", *curve, "-subj", f"/CN={name}{number}", *files],
                check=True,
                capture_output=True,
            )
        made.append(Identity(folder / "ca.pem", folder / "cert.pem", folder / "cert.key"))
    return made
