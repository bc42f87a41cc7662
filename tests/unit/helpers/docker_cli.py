"""The docker CLI as an operator uses it, and what it left on the disk."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

HOST = "tcp://web1.example:2376"


def docker(home: Path, *arguments: str | Path, config: Path | None = None) -> str:
    done = subprocess.run(
        ["docker", *map(str, arguments)],
        env={"HOME": str(home), "PATH": os.environ["PATH"], **({"DOCKER_CONFIG": str(config)} if config else {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARN" not in done.stderr.upper() and "unknown file" not in done.stderr, done.stderr
    return done.stdout


def inspect(home: Path, name: str, config: Path | None = None) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(docker(home, "context", "inspect", name, config=config))
    return found[0]


def current(home: Path, config: Path | None = None) -> str:
    return docker(home, "context", "ls", "--format", "{{if .Current}}{{.Name}}{{end}}", config=config).strip()


def tree(path: Path) -> dict[str, tuple[str, bytes]]:
    """Every file and folder with its mode; the lock file is no part of a state."""
    return {
        str(found.relative_to(path)): (oct(found.stat().st_mode), found.read_bytes() if found.is_file() else b"")
        for found in sorted(path.rglob("*"))
        if ".bulkhead" not in found.parts
    }


def tls(identity: Any) -> dict[str, str]:
    return {"ca_path": str(identity.ca), "client_cert": str(identity.cert), "client_key": str(identity.key)}


def create(home: Path, name: str, host: str, identity: Any, description: str) -> None:
    """As an operator does it."""
    options = f"host={host},ca={identity.ca},cert={identity.cert},key={identity.key}"
    docker(home, "context", "create", name, "--description", description, "--docker", options)
