# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Another passphrase for the keys of a CA and of its access groups, in a rotation also of successor and predecessor.

All keys are opened before the first one is written, and each is replaced whole. A call that was killed in between
leaves keys of both kinds, which the next one tells apart.
"""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.bulkhead.docker.plugins.module_utils._ca import directory as ca
from ansible_collections.bulkhead.docker.plugins.module_utils._ca import elsewhere, rotation
from ansible_collections.bulkhead.docker.plugins.module_utils._tls import request


def change(directory: ca.Directory, passphrase: str, old_passphrase: str, check_mode: bool = False) -> list[str]:
    """Paths of the keys below the directory that did not open with the passphrase, and do now; '' is no passphrase."""
    _check_key(directory)
    with contextlib.ExitStack() as locks:
        cas = [directory, *directory.all_groups().values()]
        for one in cas:
            locks.enter_context(ca.lock(one, shared=check_mode))
            if not check_mode:
                rotation.finish(one)
        _check_key(directory)
        places = [place for one in cas for place in (one, one.next, one.previous) if place.key.exists()]
        due = [(place, key) for place in places if (key := _key_to_change(place, passphrase, old_passphrase))]
        for place, key in [] if check_mode else due:
            ca.replace(place.key, request.pkcs8(key, passphrase), 0o600)
    return [str(entry[0].key.relative_to(directory.path)) for entry in due]


def _check_key(directory: ca.Directory) -> None:
    elsewhere.refuse(directory, "there is nothing to encrypt")
    if not directory.key.exists():
        raise ca.CaError(
            f"The CA's key in {directory.path} is not there. Correct docker_ca_dir, or bring the key back from a "
            "backup. Nothing was changed."
        )


def _key_to_change(place: ca.Directory, passphrase: str, old_passphrase: str) -> t.Any:
    """The key; None where it has this passphrase already."""
    try:
        ca.load_key(place.key, passphrase)
    except ca.CaError:
        pass
    else:
        return None
    try:
        return ca.load_key(place.key, old_passphrase, "docker_ca_old_passphrase")
    except ca.CaError as error:
        raise ca.CaError(
            f"The CA's key in {place.path} can be read neither with docker_ca_passphrase, the new passphrase, nor with "
            f"docker_ca_old_passphrase, the present one. Set docker_ca_old_passphrase to the present one. {error} "
            "Nothing was changed."
        ) from error
