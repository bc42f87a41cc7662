# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A bare repository that root alone can write, and git with no setting, hook, filter or program of anybody else."""

from __future__ import annotations

import contextlib
import shutil

from . import commands
from .errors import CommandError, FetchError
from .settings import Places, Settings

CANDIDATES = "refs/candidates"
ACCEPTED = "refs/accepted"
_FETCH_SECONDS = 600


class Repository:
    """What was fetched. Nothing in here is trusted before its signature was verified."""

    def __init__(self, settings: Settings, places: Places, credentials: str = "") -> None:
        self.folder = places.repository
        self._settings = settings
        self._env = {
            "HOME": "/nonexistent",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSH_VARIANT": "ssh",
            "GIT_SSH_COMMAND": _ssh(places),
        }
        options = {
            "core.hooksPath": "/dev/null",
            "core.attributesFile": "/dev/null",
            "core.fsmonitor": "false",
            "core.fsync": "all",
            "fetch.fsckObjects": "true",
            "fetch.recurseSubmodules": "false",
            "fetch.writeCommitGraph": "false",
            "gc.autoDetach": "false",
            "gpg.program": "/bin/false",  # git verifies what a signature says that it is, OpenPGP and X.509, too
            "gpg.x509.program": "/bin/false",
            "gpg.ssh.program": "ssh-keygen",
            "gpg.ssh.allowedSignersFile": str(places.allowed_signers),
            "http.followRedirects": "false",
            "protocol.allow": "never",
            f"protocol.{settings.scheme}.allow": "always",
            "credential.helper": "",
        }
        if settings.ca_file:
            options["http.sslCAInfo"] = settings.ca_file
        self._options = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        if settings.https_login:
            self._options += ["-c", f"credential.helper=store --file={credentials}/https-login"]

    def _git(self, *arguments: str, timeout: float = 120, given: bytes | None = None) -> tuple[bytes, str]:
        command = ("git", f"--git-dir={self.folder}", *self._options, *arguments)
        return commands.run(command, self._env, timeout, given)

    def bytes(self, *arguments: str, given: bytes | None = None) -> bytes:
        return self._git(*arguments, given=given)[0]

    def text(self, *arguments: str) -> str:
        return self.bytes(*arguments).decode("utf-8", "replace").strip()

    def complaint(self, *arguments: str) -> str:
        """What git says on its standard error where it succeeds."""
        return self._git(*arguments)[1]

    def holds(self, *arguments: str) -> bool:
        """Whether git says yes by its exit code."""
        with contextlib.suppress(CommandError):
            self._git(*arguments)
            return True
        return False

    def is_ancestor(self, older: str, newer: str) -> bool:
        return self.holds("merge-base", "--is-ancestor", older, newer)

    def fetch(self) -> None:
        """The declared branch or tags and nothing else. A repository that a power cut has damaged is made anew."""
        self._clear_locks()
        try:
            self._make()
            self._fetch()
        except CommandError as error:
            if self._is_sound():
                raise FetchError(f"nothing could be fetched from {self._settings.url}: {error}") from error
            shutil.rmtree(self.folder, ignore_errors=True)
            self._make()
            try:
                self._fetch()
            except CommandError as again:
                raise FetchError(f"nothing could be fetched from {self._settings.url}: {again}") from again

    def _make(self) -> None:
        if not (self.folder / "HEAD").exists():
            self._git("init", "--quiet", "--bare", "--template=")
        self.folder.chmod(0o700)

    def _fetch(self) -> None:
        if self._settings.verify == "tag":
            refspec = f"+refs/tags/{self._settings.tags}:{CANDIDATES}/tags/{self._settings.tags}"
        else:
            refspec = f"+refs/heads/{self._settings.branch}:{CANDIDATES}/branch"
        options = ("--quiet", "--no-tags", "--no-recurse-submodules", "--prune", "--no-write-fetch-head")
        self._git("fetch", *options, "--", self._settings.url, refspec, timeout=_FETCH_SECONDS)

    def _is_sound(self) -> bool:
        return self.holds("fsck", "--connectivity-only", "--no-dangling", "--no-progress")

    def _clear_locks(self) -> None:
        """What a killed git has left; nobody else works here, because the caller holds the lock of all of it."""
        leftovers = [*self.folder.glob("*.lock"), *self.folder.glob("refs/**/*.lock")]
        for path in [*leftovers, *self.folder.glob("objects/**/tmp_*")]:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def keep(self, commit: str) -> None:
        """Let no clean-up take what is deployed, when the server has moved its branch away."""
        self._git("update-ref", ACCEPTED, commit)


def _ssh(places: Places) -> str:
    options = {
        "BatchMode": "yes",
        "ClearAllForwardings": "yes",
        "ConnectTimeout": "20",
        "ControlPath": "none",
        "ForwardAgent": "no",
        "GlobalKnownHostsFile": "/dev/null",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "PermitLocalCommand": "no",
        "ServerAliveInterval": "15",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "UserKnownHostsFile": str(places.known_hosts),
    }
    settings = " ".join(f"-o {name}={value}" for name, value in options.items())
    return f"ssh -F /dev/null -i {places.deploy_key} {settings}"
