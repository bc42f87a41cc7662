# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the identities of a user are kept, and what an access group may be called."""

from __future__ import annotations

import dataclasses
import pathlib
import re

KEY, CERT, CA = "key.pem", "cert.pem", "ca.pem"
MODES = {KEY: 0o600, CERT: 0o644, CA: 0o644}
FOLDER_MODE = 0o700

DEFAULT_GROUP = "default"  # of engines and identities that name none

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._+-]{0,63}")
_GROUP = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


def is_name(text: str) -> bool:
    """Whether it can be the name of a folder and a common name."""
    return bool(_NAME.fullmatch(text))


def is_group(text: str) -> bool:
    """Whether it can be the name of an access group, which is that of folders, too."""
    return bool(_GROUP.fullmatch(text))


@dataclasses.dataclass(frozen=True)
class Layout:
    """The folders of one identity. In each access group but its first it has a pair of its own, in a folder below."""

    home: pathlib.Path
    name: str
    group: str = ""  # none: the first

    @property
    def folder(self) -> pathlib.Path:
        """Its three files; Docker clients can use it as DOCKER_CERT_PATH."""
        return self.home / ".bulkhead/identities" / self.name / self.group

    @property
    def pending(self) -> pathlib.Path:
        """Where its next key and certificate wait until both are there."""
        return self.home / ".bulkhead/pending" / self.name / self.group
