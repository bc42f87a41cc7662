# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every variable that the playbooks take: its type, its default, and whose variable it is.

docs/playbooks.md and the roles' argument specs say the same to operators; a test holds them against this table.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
import typing as t


class VariableError(Exception):
    """One sentence about a value that a variable cannot have."""


@dataclasses.dataclass(frozen=True)
class Variable:
    """A variable, or one option of a variable that is a list of dictionaries."""

    name: str
    type: str
    default: t.Any = None
    description: str = ""
    choices: tuple[str, ...] = ()
    elements: str = "str"  # of a list
    options: tuple[Variable, ...] = ()  # of each entry, where a list holds dictionaries
    required: bool = False
    playbooks: tuple[str, ...] = ()  # none: all of them


_KEY_TYPES = ("P-256", "P-384", "RSA")

PLAYBOOKS = (
    "site",
    "engines",
    "verify",
    "renew",
    "rotate_ca",
    "revoke_client",
    "remove",
    "change_passphrase",
    "export_identity",
    "deploy",
)

# For the whole run: given with -e, or in the inventory for all hosts.
FLEET = (
    Variable("docker_engine_hosts", "str", "docker_engines", "The engines, a group or a pattern of hosts."),
    Variable("docker_client_hosts", "str", "docker_clients", "The client hosts, a group or a pattern of hosts."),
    Variable("docker_ca_host", "str", "", "The host that keeps the CA. Empty: the host of the group `docker_ca`."),
    Variable(
        "docker_ca_connection",
        "dict",
        {},
        "How Ansible reaches `docker_ca_host` where the inventory has not that host, as in a slice: `ansible_host`, "
        "`ansible_user`, `ansible_port` and the like.",
        playbooks=("engines",),
    ),
    Variable(
        "docker_engine_serial",
        "serial",
        [1, "100%"],
        "How many engines are changed at once: a number, a percentage of them, or a list of these, as in `serial`.",
        playbooks=("site", "engines", "renew", "rotate_ca", "revoke_client", "remove"),
    ),
    Variable(
        "docker_verify_plain_ports",
        "list",
        [2375],
        "Ports of engines on which nobody may listen, because Docker would serve its API there without TLS.",
        elements="int",
    ),
    Variable("docker_report_path", "path", "", "File on the control node that gets the report of the run in JSON."),
    Variable(
        "docker_remove_hosts",
        "list",
        [],
        "The hosts that remote access is taken from: names, groups or patterns with commas between them, or `all`. "
        "Also names that the CA host alone still has.",
        playbooks=("remove",),
    ),
    Variable(
        "docker_remove_ca",
        "bool",
        False,
        "Removes the CA, too; only with `docker_remove_hosts=all`.",
        playbooks=("remove",),
    ),
    Variable(
        "docker_revoke_name", "str", "", "The identity that is revoked.", playbooks=("revoke_client", "rotate_ca")
    ),
    Variable(
        "docker_revoke_state",
        "str",
        "present",
        "`absent` lets the name get a new certificate; those that are revoked stay so.",
        choices=("present", "absent"),
        playbooks=("revoke_client", "rotate_ca"),
    ),
    Variable(
        "docker_revoke_by_rotation",
        "bool",
        False,
        "Replaces the CA without that identity, because dockerd reads no revocation list.",
        playbooks=("revoke_client", "rotate_ca"),
    ),
    Variable(
        "docker_rotate_exclude",
        "list",
        [],
        "Engines and client hosts that are gone for good and not waited for, also names that the CA alone still has.",
        playbooks=("rotate_ca", "revoke_client", "remove"),
    ),
    Variable(
        "docker_rotate_groups",
        "list",
        ["default"],
        "The access groups whose CAs are replaced, and no others. `default` is the CA that signs for servers.",
        playbooks=("rotate_ca",),
    ),
    Variable(
        "docker_renew_force",
        "bool",
        False,
        "Renews every certificate, due or not, each with a new key.",
        playbooks=("renew",),
    ),
    Variable(
        "docker_export_name", "str", "", "The identity that gets a bundle of its own.", playbooks=("export_identity",)
    ),
    Variable(
        "docker_export_dest",
        "path",
        "",
        "Folder on the control node that gets the bundle; it does not exist or is empty.",
        playbooks=("export_identity",),
    ),
    Variable(
        "docker_export_engines",
        "list",
        [],
        "The engines that the bundle has a context for, names with commas between them. Empty: all of the group.",
        playbooks=("export_identity",),
    ),
    Variable(
        "docker_export_group",
        "str",
        "default",
        "The access group whose CA signs its certificate, and whose engines it opens.",
        playbooks=("export_identity",),
    ),
    Variable(
        "docker_export_valid_days", "int", 90, "How long its certificate is valid.", playbooks=("export_identity",)
    ),
    Variable(
        "docker_export_encrypt",
        "bool",
        True,
        "Encrypts what holds the private key with ansible-vault, with the first vault secret of the run.",
        playbooks=("export_identity",),
    ),
    Variable(
        "docker_deploy_projects",
        "list",
        [],
        "The Compose projects: `name`, `src` on the control node, `engines` (empty: all), `files` in `src`, `trial`.",
        playbooks=("deploy",),
        options=(
            Variable("name", "str", required=True),
            Variable("src", "path", required=True),
            Variable("engines", "list", []),
            Variable("files", "list", []),
            Variable("trial", "bool", False),
        ),
    ),
    Variable(
        "docker_deploy_client",
        "str",
        "",
        "The client host from which they are deployed. Empty: the first one.",
        playbooks=("deploy",),
    ),
    Variable(
        "docker_deploy_identity",
        "str",
        "",
        "Its identity that deploys. Empty: the only one.",
        playbooks=("deploy",),
    ),
    Variable(
        "docker_deploy_transport",
        "str",
        "",
        "`tls` or `ssh`. Empty: the first of `docker_client_transports` of that host.",
        choices=("", "tls", "ssh"),
        playbooks=("deploy",),
    ),
    Variable(
        "docker_deploy_wait_timeout",
        "int",
        120,
        "Seconds within which the services of a project have to be healthy.",
        playbooks=("deploy",),
    ),
)

CA = (
    Variable("docker_ca_dir", "path", "~/.bulkhead/ca"),
    Variable("docker_ca_common_name", "str", "bulkhead.docker CA"),
    Variable("docker_ca_key_type", "str", "P-256", choices=_KEY_TYPES),
    Variable("docker_ca_key_size", "int", 3072),
    Variable("docker_ca_valid_days", "int", 3650),
    Variable("docker_ca_minimum_days", "int", 365),
    Variable("docker_ca_rotate_when_due", "bool", False),
    Variable("docker_ca_existing_certificate", "path", ""),
    Variable("docker_ca_existing_private_key", "path", ""),
    Variable("docker_ca_issue_tasks", "path", ""),
)

ENGINE = (
    Variable("docker_engine_listen", "list", ["0.0.0.0"]),  # noqa: S104 - behind mutual TLS
    Variable("docker_engine_port", "int", 2376),
    Variable("docker_engine_address", "str", ""),
    Variable("docker_engine_names", "list", []),
    Variable("docker_engine_trust_host_names", "bool", False),
    Variable("docker_engine_access", "list", ["default"]),
    Variable("docker_engine_daemon_options", "dict", {}),
    Variable("docker_engine_valid_days", "int", 365),
    Variable("docker_engine_renew_days", "int", 30),
    Variable("docker_engine_renew_force", "bool", False),
    Variable("docker_engine_key_type", "str", "P-256", choices=_KEY_TYPES),
    Variable("docker_engine_key_size", "int", 3072),
    Variable("docker_engine_replace_ca", "bool", False),
    Variable("docker_engine_certificate_path", "path", ""),
    Variable("docker_engine_private_key_path", "path", ""),
    Variable("docker_engine_server_ca", "str", ""),
    Variable("docker_engine_allow_container_restart", "bool", False),
    Variable("docker_engine_restart_timeout", "int", 60),
)

SSH = (
    Variable("docker_ssh_enabled", "bool", True),
    Variable(
        "docker_ssh_users",
        "list",
        [],
        options=(
            Variable("name", "str", required=True),
            Variable("public_keys", "list", []),
            Variable("principals", "list", []),
            Variable("allowed_from", "list", []),
            Variable("expires", "str", ""),
            Variable("comment", "str", ""),
            Variable("scope", "str", ""),
            Variable("state", "str", "present", choices=("present", "absent")),
        ),
    ),
    Variable("docker_ssh_trusted_user_ca_keys", "list", []),
    Variable("docker_ssh_client_networks", "list", []),
    Variable("docker_ssh_clients", "list", []),
    Variable("docker_ssh_exempt_clients", "bool", True),
    Variable("docker_ssh_max_startups", "str", "500:30:1000"),
    Variable("docker_ssh_max_sessions", "int", 500),
    Variable("docker_ssh_confirm_timeout", "int", 30),
    Variable("docker_ssh_try_login", "bool", True),
)

GATEWAY = (
    Variable("docker_gateway_enabled", "bool", False),
    Variable(
        "docker_gateway_identities",
        "list",
        [],
        options=(
            Variable("name", "str", required=True),
            Variable("scope", "str", "admin"),
            Variable("access", "list"),
        ),
    ),
    Variable(
        "docker_gateway_scopes",
        "list",
        [],
        options=(
            Variable("name", "str", required=True),
            Variable("rules", "list", []),
            Variable("log_only", "bool", False),
        ),
    ),
    Variable("docker_gateway_max_connections", "int", 500),
    Variable("docker_gateway_max_request_rate", "int", 0),
)

CLIENT = (
    Variable(
        "docker_client_identities",
        "list",
        [{"name": "admin"}],
        options=(
            Variable("name", "str", required=True),
            Variable("user", "str"),
            Variable("access", "list"),
            Variable("scope", "str", "admin"),
            Variable("valid_days", "int"),
            Variable("ssh_account", "str"),
            Variable("ssh_private_key", "path"),
            Variable("certificate_path", "path"),
            Variable("private_key_path", "path"),
            Variable("expires", "str", ""),
        ),
    ),
    Variable("docker_client_transports", "list", ["tls"], choices=("tls", "ssh")),
    Variable("docker_client_context_name", "str", ""),
    Variable("docker_client_current", "str", ""),
    Variable("docker_client_purge", "bool", False),
    Variable("docker_client_context_set", "str", "bulkhead"),
    Variable("docker_client_config_dir", "path", ""),
    Variable("docker_client_env_files", "bool", False),
    Variable("docker_client_valid_days", "int", 365),
    Variable("docker_client_renew_days", "int", 30),
    Variable("docker_client_renew_force", "bool", False),
    Variable("docker_client_key_type", "str", "P-256", choices=_KEY_TYPES),
    Variable("docker_client_key_size", "int", 3072),
    Variable("docker_client_ssh_key_type", "str", "ed25519", choices=("ed25519", "ecdsa", "rsa")),
    Variable("docker_client_ssh_jump", "str", ""),
    Variable("docker_client_require_host_keys", "bool", True),
    Variable("docker_client_skip_revoked", "bool", False),
    Variable("docker_client_replace_ca", "bool", False),
)

# The report of a run. In a workflow of AWX, the next job gets it as an extra variable, which nobody reads.
ARTEFACT = "docker_report"

# Secrets are read where they are used and are no part of the plan.
SECRETS = frozenset({"docker_ca_passphrase", "docker_ca_old_passphrase", "docker_ca_existing_passphrase"})

# What the playbooks give to the roles. An inventory may have them for plays of its own; extra variables would replace
# what the plan says.
ROLE_INPUTS = frozenset(
    {
        "docker_ca_groups",
        "docker_ca_issue_sign",
        "docker_ca_revoke_groups",
        "docker_ca_revoke_known",
        "docker_ca_revoke_name",
        "docker_ca_revoke_recorded",
        "docker_ca_revoke_servers",
        "docker_ca_revoke_state",
        "docker_ca_rotate_groups",
        "docker_ca_rotate_to",
        "docker_ca_sign_requests",
        "docker_client_absent_all",
        "docker_client_absent_names",
        "docker_client_ca_certificate",
        "docker_client_connects_as",
        "docker_client_engines",
        "docker_client_evicted_names",
        "docker_client_group_cas",
        "docker_client_retired_cas",
        "docker_client_revoked_names",
        "docker_engine_ca_certificate",
        "docker_engine_certificate_names",
        "docker_engine_foreign_names",
        "docker_engine_gateway",
        "docker_engine_retired_cas",
        "docker_gateway_accounts",
        "docker_gateway_revocation_lists",
        "docker_gateway_revoked_names",
        "docker_ssh_absent_names",
        "docker_ssh_keep",
        "docker_ssh_state",
        "docker_verify_account",
        "docker_verify_client_cas",
        "docker_verify_connects_as",
        "docker_verify_engines",
        "docker_verify_gateways",
        "docker_verify_timeout",
        "docker_verify_host",
        "docker_verify_group_cas",
        "docker_verify_identities",
        "docker_verify_identity",
        "docker_verify_over_ssh",
        "docker_verify_transports",
        "docker_verify_user",
    }
)

# Of the playbook gitops, which makes no plan; a file of extra variables may be for all playbooks.
GITOPS = frozenset(
    {
        "docker_gitops_branch",
        "docker_gitops_ca_file",
        "docker_gitops_drift",
        "docker_gitops_host_keys",
        "docker_gitops_https_login_file",
        "docker_gitops_interval",
        "docker_gitops_metrics_directory",
        "docker_gitops_notify",
        "docker_gitops_paused",
        "docker_gitops_projects",
        "docker_gitops_registry_config",
        "docker_gitops_remove_projects",
        "docker_gitops_repository",
        "docker_gitops_settle_seconds",
        "docker_gitops_signers",
        "docker_gitops_state",
        "docker_gitops_tags",
        "docker_gitops_verify",
    }
)

_DECLARED = frozenset(variable.name for variable in (*FLEET, *CA, *ENGINE, *SSH, *GATEWAY, *CLIENT))
KNOWN = _DECLARED | SECRETS | ROLE_INPUTS | GITOPS


def convert(variable: Variable, value: t.Any, where: str) -> t.Any:
    """The value in the variable's type, in which the forms that Ansible takes for it are accepted."""
    if value is None:
        if variable.required:
            raise VariableError(f"{where} has no {variable.name}; set it.")
        return variable.default
    what = f"{variable.name} of {where}" if where else variable.name
    if variable.type == "list":
        entries = _entries(value, what, bool(variable.options))
        if variable.options:
            return [_entry(variable, entry, f"entry {number} of {what}") for number, entry in enumerate(entries, 1)]
        converter, one = _CONVERTERS[variable.elements], f"an entry of {what}"
        return [_choice(variable, converter(entry, one), one) for entry in entries]
    if variable.type == "serial":
        return value
    converted = _CONVERTERS[variable.type](value, what)
    return _choice(variable, converted, what) if variable.choices else converted


def _entry(variable: Variable, value: t.Any, what: str) -> dict[str, t.Any]:
    if not isinstance(value, t.Mapping):
        raise VariableError(f"{what} is {shown(value)}; it has to be a dictionary with a name.")
    names = [option.name for option in variable.options]
    unknown = [str(name) for name in value if name not in names]
    if unknown:
        raise VariableError(f"{what} has no option {', '.join(unknown)}; the options are {', '.join(names)}.")
    return {option.name: convert(option, value.get(option.name), what) for option in variable.options}


def _entries(value: t.Any, what: str, of_dictionaries: bool) -> list[t.Any]:
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, str) and not of_dictionaries:
        return _listed(value, what)
    if isinstance(value, int) and not isinstance(value, bool) and not of_dictionaries:
        return [value]
    raise VariableError(f"{what} is {shown(value)}; it has to be a list.")


def _listed(text: str, what: str) -> list[t.Any]:
    """A list that came as text: JSON, as -e gives it, or words with commas between them."""
    if text.lstrip().startswith("["):
        found = _json(text, what, "list")
        if isinstance(found, list):
            return found
    return [word.strip() for word in text.split(",") if word.strip()]


def _text(value: t.Any, what: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value.isoformat()  # which YAML makes of a date without quotes
    raise VariableError(f"{what} is {shown(value)}; it has to be text, in quotes where YAML reads something else.")


def _number(value: t.Any, what: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,9}\s*", value):
        return int(value)
    raise VariableError(f"{what} is {shown(value)}; it has to be a whole number.")


def _truth(value: t.Any, what: str) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower() if isinstance(value, (str, int)) else ""
    if word in ("yes", "on", "1", "true", "t", "y"):
        return True
    if word in ("no", "off", "0", "false", "f", "n"):
        return False
    raise VariableError(f"{what} is {shown(value)}; it has to be true or false.")


def _dictionary(value: t.Any, what: str) -> dict[str, t.Any]:
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = _json(value, what, "dictionary")
    if isinstance(value, t.Mapping):
        return dict(value)
    raise VariableError(f"{what} is {_unshown(value)}; it has to be a dictionary.")


def _json(text: str, what: str, kind: str) -> t.Any:
    try:
        return json.loads(text)
    except ValueError as error:
        found = _unshown(text) if kind == "dictionary" else shown(text)
        raise VariableError(f"{what} is {found}; it has to be a {kind}, and is no JSON ({error}).") from error


def _choice(variable: Variable, value: t.Any, what: str) -> t.Any:
    if variable.choices and value not in variable.choices:
        raise VariableError(f"{what} is {shown(value)}; it has to be one of {', '.join(variable.choices)}.")
    return value


def shown(value: t.Any) -> str:
    """The value for a sentence: on one line, and not at any length."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _unshown(value: t.Any) -> str:
    """What stands where a dictionary of dockerd's options belongs, which may hold passwords."""
    return "text" if isinstance(value, str) else "a list" if isinstance(value, (list, tuple)) else "something else"


_CONVERTERS: dict[str, t.Callable[[t.Any, str], t.Any]] = {
    "str": _text,
    "path": _text,
    "int": _number,
    "bool": _truth,
    "dict": _dictionary,
}
