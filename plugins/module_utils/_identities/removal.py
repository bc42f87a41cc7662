# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes identities away; needs no cryptography."""

from __future__ import annotations

import os
import shutil

from ansible_collections.bulkhead.docker.plugins.module_utils import _files
from ansible_collections.bulkhead.docker.plugins.module_utils._identities.layout import Layout


def absent(layout: Layout, check: bool) -> list[dict[str, str]]:
    """Remove an identity, and the folders of all of them with the last one."""
    gone = [path for path in (layout.folder, layout.pending) if os.path.lexists(path)]
    if not check:
        for path in gone:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        for path in (layout.folder.parent, layout.pending.parent, layout.folder.parent.parent):
            _files.remove_if_empty(path)
    return [{"before": f"{path}\n", "after": ""} for path in gone]
