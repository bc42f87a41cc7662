# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Types of keys as options name them; where cryptography is missing, too."""

from __future__ import annotations


def label(key_type: str, size: int) -> str:
    """As a certificate's key is called: P-256, P-384, RSA 3072."""
    return f"RSA {size}" if key_type == "RSA" else key_type


def problem(key_type: str, size: int) -> str:
    """A sentence about a size that no CA of ours signs for, or ''."""
    if key_type != "RSA" or 2048 <= size <= 8192:
        return ""
    return f"key_size is {size}; RSA keys have 2048 to 8192 bits."
