# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of an engine that deploys a signed repository, as they shall be."""

from __future__ import annotations

import inspect
import json
import pathlib
import types

from ansible_collections.bulkhead.docker.plugins.module_utils import _sandbox
from ansible_collections.bulkhead.docker.plugins.module_utils._files import Target
from ansible_collections.bulkhead.docker.plugins.module_utils._gitops.options import Desired
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops import (
    candidate,
    commands,
    compose,
    deploy,
    errors,
    main,
    policy,
    report,
    repository,
    signatures,
    state,
    storage,
    tools,
    tree,
    trial,
)
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops import settings as _settings
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import files as _ssh_files

PLACES = _settings.Places()
PROGRAM = pathlib.Path("/usr/local/sbin/docker-gitops")
LIBRARY = pathlib.Path("/usr/local/lib/bulkhead/gitops")
UNITS = pathlib.Path("/etc/systemd/system")
SERVICE, TIMER = "docker-gitops.service", "docker-gitops.timer"

_NOTICE = "# Written by the role docker_gitops of the Ansible collection bulkhead.docker, which overwrites changes.\n"
_MODULES: tuple[types.ModuleType, ...] = (
    *(candidate, commands, compose, deploy, errors, main, policy, report, repository),
    *(_settings, signatures, state, storage, tools, tree, trial),
)
_LAUNCHER = """#!{python} -IB
import sys

sys.path.insert(0, "{folder}")
from {package}.main import main
from {package}.settings import Places

sys.exit(main(sys.argv[1:], Places()))
"""
# Root without its capabilities but one, because trees can have files that containers have written. The Docker socket
# makes it root on the host all the same: the sandbox is there for what git and ssh read from a server.
_SANDBOX = f"""\
CapabilityBoundingSet=CAP_DAC_OVERRIDE
KeyringMode=private
LimitCORE=0
LimitFSIZE=2G
LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
{_sandbox.SETTINGS}UMask=0022
"""


def programs() -> list[Target]:
    launcher = _LAUNCHER.format(python=_ssh_files.python(), folder=LIBRARY.parent, package=LIBRARY.name)
    sources = {f"{module.__name__.rpartition('.')[2]}.py": inspect.getsource(module) for module in _MODULES}
    left = [path for path in LIBRARY.glob("*.py") if path.name not in sources]
    return [
        *(Target(LIBRARY / name, source.encode(), 0o644) for name, source in sorted(sources.items())),
        *(Target(path, None) for path in left),
        Target(PROGRAM, launcher.encode(), 0o755),
    ]


def settings(desired: Desired, docker_host: str) -> list[Target]:
    config = json.dumps(desired.config(docker_host), indent=1, sort_keys=True) + "\n"
    known = "".join(f"{desired.host} {key.kind} {key.blob}\n" for key in desired.host_keys)
    return [
        Target(PLACES.settings, config.encode(), 0o600),
        Target(PLACES.allowed_signers, "".join(signer.lines for signer in desired.signers).encode(), 0o644),
        Target(PLACES.known_hosts, known.encode() if desired.over_ssh else None, 0o644),
    ]


def units(desired: Desired) -> list[Target]:
    return [
        Target(UNITS / SERVICE, _service(desired).encode(), 0o644),
        Target(UNITS / TIMER, _timer(desired).encode(), 0o644),
    ]


def _service(desired: Desired) -> str:
    credentials = "".join(
        f"LoadCredential{'Encrypted' if encrypted else ''}={name}:{file}\n"
        for name, file, encrypted in desired.credentials
    )
    metrics = desired.settings["metrics_directory"]
    writable = f"ReadWritePaths=-{metrics}\n" if metrics else ""
    return (
        f"{_NOTICE}[Unit]\nDescription=Deploy a signed Git repository to this Docker engine\n"
        "Wants=network-online.target\nAfter=network-online.target docker.service\n"
        "StartLimitIntervalSec=0\n\n"
        f"[Service]\nType=oneshot\nExecStart={PROGRAM} run\nTimeoutStartSec=3h\n"
        f"StateDirectory={PLACES.state.name}\nStateDirectoryMode=0700\n{writable}{credentials}{_SANDBOX}"
    )


def _timer(desired: Desired) -> str:
    return (
        f"{_NOTICE}[Unit]\nDescription=Look for new revisions of the Git repository of this Docker engine\n\n"
        f"[Timer]\nOnActiveSec=1s\nOnUnitInactiveSec={desired.interval}s\nAccuracySec=1s\n"
        f"RandomizedDelaySec={desired.interval // 10}s\n\n[Install]\nWantedBy=timers.target\n"
    )


def nothing() -> list[Target]:
    """Every file of ours but the key and the state, gone."""
    paths = [
        *(UNITS / TIMER, UNITS / SERVICE, PROGRAM, *LIBRARY.glob("*.py")),
        *(PLACES.settings, PLACES.allowed_signers, PLACES.known_hosts),
    ]
    return [Target(path, None) for path in paths]
