# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What modules about Docker contexts have in common: the store, its folder, and a whole set that is declared."""

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
notes:
  - The host in an endpoint is an IP address or a host name as RFC 1123 allows it, nothing else.
  - E(DOCKER_HOST) and E(DOCKER_CONTEXT) in a user's environment come before the current context.
  - Docker clients go through E(HTTPS_PROXY) to C(tcp://) endpoints unless E(NO_PROXY) excepts them. The module warns
    where its own environment says so.
"""

    FOLDER = r"""
options:
  config_dir:
    description:
      - Folder of the docker CLI's files, by default E(DOCKER_CONFIG) or C(~/.docker) of the user that the module
        runs as.
      - The docker CLI of a snap reads C(~/snap/docker/current/.docker).
    type: path
"""

    CONTEXTS = r"""
options:
  contexts:
    description: The contexts that shall exist. M(bulkhead.docker.docker_contexts) needs it.
    type: list
    elements: dict
    suboptions:
      name:
        description:
          - Name of the context, as Docker allows it. It has at least two characters, the first one a letter or digit, the
            others letters, digits or one of C(_.+-). V(default) is Docker's own.
        type: str
        required: true
      docker_host:
        description: The endpoint, C(unix:///PATH), C(ssh://USER@HOST) or C(tcp://HOST:PORT).
        type: str
        required: true
      ca_path:
        description: The trust bundle that the engine's certificate is checked with. Needed for C(tcp://), and only there.
        type: path
      client_cert:
        description: The client's certificate. Needed for C(tcp://), and only there.
        type: path
      client_key:
        description: The private key of O(contexts[].client_cert), not encrypted. Needed for C(tcp://), and only there.
        type: path
      validate_certs:
        description: Whether clients check the engine's certificate. With V(false), whoever sits in between can be the engine.
        type: bool
        default: true
      description:
        description: What C(docker context ls) shows beside the name. An empty string removes it; not set, it stays.
        type: str
      cert_path:
        description:
          - The folder that has O(contexts[].ca_path), O(contexts[].client_cert) and O(contexts[].client_key) as C(ca.pem), C(cert.pem) and
            C(key.pem), for tools that read no contexts. Needed for C(tcp://) with O(env_files=true).
        type: path
  env_files:
    description:
      - Write files for tools that read no contexts into C(~/.bulkhead/env/NAME), where C(NAME) is that of the context. C(docker.env) has
        E(DOCKER_HOST), E(DOCKER_TLS_VERIFY) and E(DOCKER_CERT_PATH), for shells, systemd, Docker's Python library, dockerode and
        Testcontainers; C(.testcontainers.properties) has the same for Testcontainers for Java, Go and Node.js, over TLS alone;
        C(docker.tf) has the block of the provider C(kreuzwerker/docker).
      - They hold no key. Those of O(context_set) that are there go with V(false), and each goes with its context.
    type: bool
    default: false
  current:
    description:
      - Name of the context to make the current one. It is one of O(contexts), another one that exists, or V(default).
      - Not set, the current one stays, unless it is removed; then Docker's default context becomes current.
    type: str
  purge:
    description: Remove the contexts of O(context_set) that this module made earlier and that O(contexts) does not name any more.
    type: bool
    default: false
  context_set:
    description: >-
      Name of the set that O(contexts) lists. Somebody whose contexts come from several inventories gives each a set of its own,
      so that O(purge) in one leaves the others alone.
    type: str
    default: bulkhead
"""
