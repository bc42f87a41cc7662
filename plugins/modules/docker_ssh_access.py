# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_ssh_access
short_description: Lets named users use the Docker API over SSH, and nothing else on the host
version_added: "0.1.0"
description:
  - Brings the accounts, their keys, the program that is all they can run, access to the Docker socket and the drop-in of sshd to one
    state, in one execution on the engine.
  - An account that this module made and that is named no more loses access, and what it runs is ended. Nothing that it did not make
    is touched.
  - What else in the configuration of sshd stands against the accounts, or would lock Ansible out, is refused before anything is changed.
  - A change of sshd is a confirmed commit. A timer on the host, and after a reboot a unit, puts the previous configuration back, unless a
    new connection through the new one confirms it in time. The new connection is made by this module's action part, within the same task.
    Where Ansible is not connected over SSH, there is nothing to confirm.
  - When it has changed something, it logs in to each new account, on the host itself and through its sshd, with a key that exists for that
    login alone. If that fails, it takes back what it has given and says what sshd or PAM has logged.
author:
  - The bulkhead.docker maintainers (@bulkhead)
requirements:
  - systemd, Docker, and OpenSSH 8.2 or later on the engine
attributes:
  check_mode:
    support: full
    description: Can run in check mode and return the changed status prediction without modifying the engine.
  diff_mode:
    support: full
    description: Shows the lines of files that change, the accounts, and access to the socket.
options:
  state:
    description: V(absent) removes the accounts in O(absent_names), or everything that the module made.
    type: str
    choices: [present, absent]
    default: present
  absent_names:
    description: >-
      Needed with O(state=absent), names of accounts to remove with all that runs as them. Everything else stays, sshd's configuration too.
      The word V(all) alone stands for every account and everything else that the module made; an empty list never does.
    type: list
    elements: str
    default: []
  users:
    description: The accounts.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the account. One that exists and was not made by this module is refused.
        type: str
        required: true
      public_keys:
        description: Public keys, each as in a C(.pub) file and without options.
        type: list
        elements: str
        default: []
      principals:
        description: Principals of SSH certificates that may log in as this account; needs O(trusted_user_ca_keys).
        type: list
        elements: str
        default: []
      allowed_from:
        description: Addresses and networks in CIDR form from which this account may log in. Empty means from anywhere.
        type: list
        elements: str
        default: []
      expires:
        description:
          - Until when the account may log in, a date, which counts to its end, or a time, in ISO 8601. UTC where no zone is given.
          - sshd itself refuses logins from then on. The next execution removes the account and ends its sessions.
        type: str
        default: ""
      comment:
        description: Who it is, for the account's comment field.
        type: str
        default: ""
      scope:
        description:
          - What the account may do. V(admin) speaks to the Docker socket itself, which is root on the host; it is the default.
          - Any other one speaks to the socket that the gateway of the engine has for this account, and cannot reach the Docker socket. The
            gateway has to know the account with this scope, by O(bulkhead.docker.docker_daemon_config#module:gateway.accounts).
          - An account that gets another scope loses its sessions where it becomes an admin or was one.
        type: str
        default: ""
      state:
        description: Whether the account exists.
        type: str
        choices: [present, absent]
        default: present
  keep:
    description: >-
      Accounts of this module that stay with the keys and principals that they have, though O(users) may have fewer or none; or names of
      identities, for accounts with the comment C(identity NAME) that O(users) has not; or V(*) for every account that O(users) has not. For
      a caller who does not know all who have access, or who rewrites some accounts.
    type: list
    elements: str
    default: []
  trusted_user_ca_keys:
    description: Public keys of the CAs whose SSH certificates these accounts accept.
    type: list
    elements: str
    default: []
  client_networks:
    description: Networks in CIDR form that are exempt from the penalties of OpenSSH 9.8 and later for many connections at once.
    type: list
    elements: str
    default: []
  clients:
    description: >-
      Names or addresses of client hosts, which are exempt like O(client_networks). Names are resolved on the engine.
    type: list
    elements: str
    default: []
  exempt_clients:
    description: Whether O(clients) and the address from which Ansible is connected are exempt.
    type: bool
    default: true
  max_startups:
    description: >-
      Value for sshd's C(MaxStartups), which is raised to it and never lowered; so is C(PerSourceMaxStartups) where it is set. Empty leaves
      both as they are.
    type: str
    default: "500:30:1000"
  max_sessions:
    description: Value for sshd's C(MaxSessions) of these accounts, for clients that use one connection for many requests.
    type: int
    default: 500
  try_login:
    description: >-
      Whether a login to the accounts is tried after a change, to each that is new or repaired, or else to one. Without C(ssh) on the engine
      none is tried, and a warning says so, in check mode, too.
    type: bool
    default: true
  confirm_timeout:
    description: Seconds within which a new connection has to confirm a change of sshd.
    type: int
    default: 30
"""

EXAMPLES = r"""
- name: Let two people and a build server use the Docker API
  bulkhead.docker.docker_ssh_access:
    users:
      - name: docker-alice
        public_keys: ["{{ lookup('ansible.builtin.file', 'keys/alice.pub') }}"]
      - name: docker-bob
        principals: [bob]
      - name: docker-ci
        public_keys: ["{{ lookup('ansible.builtin.file', 'keys/ci.pub') }}"]
        allowed_from: [192.0.2.0/24]
        expires: "2030-12-31"
    trusted_user_ca_keys: ["{{ lookup('ansible.builtin.file', 'keys/ssh-ca.pub') }}"]
    client_networks: [192.0.2.0/24]

- name: Take everything away again
  bulkhead.docker.docker_ssh_access:
    state: absent
    absent_names: [all]

- name: End the access of one of them at once, whatever is known of the others
  bulkhead.docker.docker_ssh_access:
    state: absent
    absent_names: [docker-alice]
"""

RETURN = r"""
users:
  description: Names of the accounts that have access.
  returned: success
  type: list
  elements: str
removed:
  description: Names of the accounts that were removed, or would be in check mode.
  returned: success
  type: list
  elements: str
expired:
  description: Names of the users whose time is over. They have no access.
  returned: success
  type: list
  elements: str
would_change:
  description: Whether something differs from what is asked for. It stays true after the change.
  returned: success
  type: bool
recovered:
  description: Whether a change of sshd that an earlier execution left unconfirmed was undone first, or would be in check mode.
  returned: success
  type: bool
port:
  description: Port of sshd; 22 with O(state=absent), where sshd is not asked.
  returned: success
  type: int
host_keys:
  description: Public host keys of sshd, for the known hosts of clients; none with O(state=absent).
  returned: success
  type: list
  elements: str
logins:
  description: Accounts to which a login was tried on the engine itself, and succeeded.
  returned: success
  type: list
  elements: str
confirmed:
  description: Whether sshd was changed and a new connection has confirmed it.
  returned: success
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import access as _access
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import plan as _plan
from ansible_collections.bulkhead.docker.plugins.module_utils._ssh import users as _users

_USER = {
    "name": {"type": "str", "required": True},
    "public_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "principals": {"type": "list", "elements": "str", "default": []},
    "allowed_from": {"type": "list", "elements": "str", "default": []},
    "expires": {"type": "str", "default": ""},
    "comment": {"type": "str", "default": ""},
    "scope": {"type": "str", "default": ""},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "absent_names": {"type": "list", "elements": "str", "default": []},
            "users": {"type": "list", "elements": "dict", "default": [], "options": _USER},
            "keep": {"type": "list", "elements": "str", "default": []},
            "trusted_user_ca_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "client_networks": {"type": "list", "elements": "str", "default": []},
            "clients": {"type": "list", "elements": "str", "default": []},
            "exempt_clients": {"type": "bool", "default": True},
            "max_startups": {"type": "str", "default": "500:30:1000"},
            "max_sessions": {"type": "int", "default": 500},
            "try_login": {"type": "bool", "default": True},
            "confirm_timeout": {"type": "int", "default": 30},
            # From the action part: whether it is connected over SSH, and that it only confirms what waits.
            "_over_ssh": {"type": "bool"},
            "_confirm": {"type": "bool"},
        },
        supports_check_mode=True,
    )
    given, check_mode, over_ssh = module.params, module.check_mode, bool(module.params["_over_ssh"])

    def work(is_awaited: _access.Awaited) -> _plan.Result:
        if given["state"] == "present":
            return _access.run(_plan.read(given, check_mode), check_mode, over_ssh, is_awaited)
        if given["absent_names"] == [_users.ALL]:
            return _access.clear(check_mode, over_ssh, given["confirm_timeout"], is_awaited)
        return _access.take(given["absent_names"], check_mode, is_awaited)

    try:
        if given["_confirm"]:
            _access.confirm()
            module.exit_json(changed=False)
        result = work(lambda: True) if check_mode else _access.apart(work)
    except _access.REFUSALS as error:
        module.fail_json(msg=str(error))
    for name in result.expired:
        module.warn(f"docker_ssh_users: the time of {name} is over, so there is no such account; remove the entry.")
    for warning in result.warnings:
        module.warn(warning)
    module.exit_json(
        changed=result.changed,
        would_change=result.changed,
        users=result.users,
        removed=result.removed,
        expired=result.expired,
        recovered=result.recovered,
        port=result.port,
        host_keys=result.host_keys,
        logins=result.logins,
        confirm_within=result.confirm_within,
        diff=result.diff,
    )


if __name__ == "__main__":
    main()
