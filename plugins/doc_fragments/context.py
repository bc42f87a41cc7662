# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What docker_context and docker_contexts have in common."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
attributes:
  check_mode:
    support: full
    description: >-
      Can run in check mode and return the changed status prediction without modifying the store.
      TLS files that do not exist yet are an error in a run, and a warning in check mode.
  diff_mode:
    support: full
    description: Shows endpoints and the fingerprints of certificates, never a key and nothing else of C(config.json).
options:
  config_dir:
    description:
      - Folder of the docker CLI's files, by default E(DOCKER_CONFIG) or C(~/.docker) of the user that the module
        runs as.
      - The docker CLI of a snap reads C(~/snap/docker/current/.docker).
    type: path
notes:
  - The host in an endpoint is an IP address or a host name as RFC 1123 allows it, nothing else.
  - E(DOCKER_HOST) and E(DOCKER_CONTEXT) in a user's environment come before the current context.
  - Docker clients go through E(HTTPS_PROXY) to C(tcp://) endpoints unless E(NO_PROXY) excepts them. The module warns
    where its own environment says so.
"""
