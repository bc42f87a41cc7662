# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Variables that nobody knows, that are set where nobody reads them, or that hold for more than they may."""

from __future__ import annotations

import pathlib
import re
import typing as t
import urllib.parse

from ansible_collections.bulkhead.docker.plugins.plugin_utils import variables as _variables
from ansible_collections.bulkhead.docker.plugins.plugin_utils.inventory import Inventory, Reader, listed, unknown

_DEFINED = re.compile(r"""^\s*["']?(docker_\w+)["']?\s*:""", re.M)
_ROLE_PREFIXES = ("docker_ca_", "docker_client_", "docker_engine_", "docker_ssh_")
_OURS = re.compile(r"(__)?docker_")
# With -e they hold for every host and for every task, whatever a play says.
_NOT_FOR_ALL = (
    "ansible_become",
    "ansible_become_user",
    "ansible_connection",
    "ansible_host",
    "ansible_ssh_host",
    "ansible_delegated_vars",
)
# How AWX and what was made from it begin the names of the variables that a job gets.
_JOBS = ("awx", "tower", "ascender")
# How a CA host is reached that the inventory has not; playbooks/internal/add_ca_host.yml gives these to it.
CONNECTION = (
    "ansible_host",
    "ansible_port",
    "ansible_user",
    "ansible_connection",
    "ansible_python_interpreter",
    "ansible_ssh_private_key_file",
    "ansible_ssh_common_args",
)
_LONGEST = 220  # of 255 for the name of a file; the rest says what the entry is for, and that it is being written
_OF_CA = frozenset(variable.name for variable in _variables.CA) | _variables.SECRETS
_FOR_ALL_HOSTS = frozenset(variable.name for variable in _variables.FLEET) - {"docker_engine_serial"}


def long_names(engines: t.Iterable[str], clients: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    """Hosts of which the CA host could keep no entry, which is a file that is called like them."""
    for host in dict.fromkeys([*engines, *clients]):
        identities = clients[host]["identities"] if host in clients else []
        longest = max((_quoted_length(one["name"]) for one in identities), default=0)
        if _quoted_length(host) + longest > _LONGEST:
            yield (
                f"The inventory name {host!r} is too long: in its record, the CA host names files by it and by the "
                f"identities of the host, which is {_LONGEST} characters at most; those but letters, digits and "
                "_ . - ~ count three times and more. Give the host a shorter name, and its long one in ansible_host."
            )


def _quoted_length(name: str) -> int:
    return len(urllib.parse.quote(name, safe=""))


def extra_variables(extra: t.Mapping[str, t.Any], playbook: str) -> t.Iterator[str]:
    """What -e may not say. A misspelt name would be ignored without a word."""
    playbooks = {variable.name: variable.playbooks for variable in _variables.FLEET}
    for name in sorted(map(str, extra)):
        if name in _NOT_FOR_ALL:
            yield (
                f"The extra variable {name} would hold for every host, the control node included, and for every task. "
                "Set it in the inventory, for the hosts that it is meant for, such as the group docker_engines."
            )
        elif name == "docker_plan" or name.startswith("__docker_") or name in _variables.ROLE_INPUTS:
            yield f"The extra variable {name} is the collection's own; remove it."
        elif name.startswith("docker_") and name not in _variables.KNOWN | {_variables.ARTEFACT}:
            yield f"The extra variable {name} is unknown. {unknown(name, _variables.KNOWN)}"
        elif playbooks.get(name) and playbook not in playbooks[name]:
            yield (
                f"The extra variable {name} does nothing in the playbook {playbook}; it belongs to "
                f"{listed(playbooks[name])}. Remove it, or run that playbook."
            )


def no_slice(template: str, playbook: str) -> str:
    return (
        f"This job is a slice of the job template {template!r}, and {playbook} has to know all hosts: set the job "
        "slicing of that template to 1, or run bulkhead.docker.engines, which may be sliced. Where it is no slice, a "
        "workflow has the name of its job template; rename one of them."
    )


def sliced_template(extra: t.Mapping[str, t.Any]) -> str:
    """The job template of which this job is a slice, or ''.

    AWX gives each slice a part of the hosts, and no variable says so. It names the workflow of the slices, which it
    makes itself, after the template.
    """
    for prefix in _JOBS:
        name = str(extra.get(f"{prefix}_job_template_name") or "")
        if name and name == str(extra.get(f"{prefix}_workflow_job_name") or ""):
            return name
    return ""


def relaunched(playbook: str) -> str:
    return (
        f"This job was relaunched, so that it may be a slice of a job template, and {playbook} has to know all hosts: "
        "launch the job template itself."
    )


def relaunched_without_engines() -> str:
    return (
        "This job was relaunched, and its inventory has no engine: it may be a slice that has none, for which there is "
        "nothing to do. Launch the job template itself."
    )


def relaunched_job(extra: t.Mapping[str, t.Any]) -> bool:
    """Whether AWX made this job from another, which may have been a slice.

    The copy of a slice has the same part of the hosts and is in no workflow, so sliced_template does not see it.
    """
    return any(
        extra.get(f"{prefix}_job_launch_type") == "relaunch" and not extra.get(f"{prefix}_workflow_job_name")
        for prefix in _JOBS
    )


def client_in_a_container() -> str:
    return (
        "The inventory has no group docker_clients, so that the control node would be the client host, and its "
        "identities would be gone with the execution environment that this job runs in. Put the client hosts into that "
        "group; or name localhost in docker_client_hosts if its home lasts."
    )


def secrets_on_command_line(command_line: str) -> t.Iterator[str]:
    for name in sorted(_variables.SECRETS):
        if re.search(rf"""\b{name}["']?\s*[=:](?!\s*["']?{{{{)""", command_line):  # a template shows nothing
            yield (
                f"{name} is on the command line, where ps shows it to every user of this machine. Change that "
                "passphrase, and give it in a file that ansible-vault has encrypted: as a variable of the CA host, or "
                "with -e @FILE."
            )


def facts(inventory: Inventory, hosts: t.Iterable[str]) -> t.Iterator[str]:
    """Facts come from the hosts themselves, and Ansible takes them for variables."""
    for host in hosts:
        names = sorted(name for name in inventory.facts(host) if _OURS.match(str(name)))
        if names:
            yield (
                f"{host} has facts with the names of this collection's variables: {listed(names)}. A host cannot set "
                "them. Find out where they come from, and empty the fact cache with ansible-playbook --flush-cache."
            )


def inventory_variables(reader: Reader, hosts: t.Iterable[str]) -> t.Iterator[str]:
    """Names with the prefix of a role that no role knows. Others may belong to anybody."""
    found: dict[str, list[str]] = {}
    for host in hosts:
        set_here = set(reader.inventory.results(host)) | set(reader.inventory.extra)
        for name in reader.of(host):
            if str(name).startswith(_ROLE_PREFIXES) and name not in _variables.KNOWN and name not in set_here:
                found.setdefault(str(name), []).append(host)
    for name, where in sorted(found.items()):
        yield f"The variable {name} of {listed(where)} is unknown. {unknown(name, _variables.KNOWN)}"


def misplaced(reader: Reader, hosts: t.Iterable[str], ca_host: str) -> t.Iterator[str]:
    """Variables that are set where nobody reads them, so that their defaults would hold instead."""
    on_ca = reader.of(ca_host)
    elsewhere: dict[str, list[str]] = {}
    for host in hosts:
        for name in reader.of(host):
            unread = name not in reader.inventory.play if name in _FOR_ALL_HOSTS else name not in on_ca
            if unread and name in _FOR_ALL_HOSTS | _OF_CA:
                elsewhere.setdefault(str(name), []).append(host)
    for name, where in sorted(elsewhere.items()):
        if name in _FOR_ALL_HOSTS:
            yield (
                f"{name} is set for {listed(where)}, but it is one value for the whole run. Set it for all hosts, or "
                "with -e."
            )
        else:
            yield f"{name} is set for {listed(where)}, but the CA is on {ca_host}. Set it for that host."


def unread(reader: Reader, hosts: t.Iterable[str]) -> t.Iterator[str]:
    """Variables beside the operator's playbook: Ansible reads them for that playbook's own plays, not for these."""
    given = {str(name) for host in hosts for name in reader.of(host)} | {str(name) for name in reader.inventory.play}
    files: dict[str, list[str]] = {}
    for name, path in sorted(reader.inventory.unread.items()):
        if name in _variables.KNOWN and name not in given:
            files.setdefault(path, []).append(name)
    for path, names in files.items():
        yield (
            f"{path} has {listed(names)}, but Ansible does not read it for the playbooks of a collection. Move the "
            "folder beside the inventory."
        )


def variables_beside(folder: pathlib.Path) -> dict[str, str]:
    """The names of variables in the folder's group_vars and host_vars, with their files; encrypted ones tell none."""
    found: dict[str, str] = {}
    for kind in ("group_vars", "host_vars"):
        for path in sorted((folder / kind).rglob("*")):
            if path.is_file() and path.suffix in ("", ".yml", ".yaml", ".json"):
                text = path.read_text(encoding="utf-8", errors="replace")
                found.update(dict.fromkeys(_DEFINED.findall(text), str(path)))
    return found


def ssh_keys_left_out(clients: t.Mapping[str, t.Mapping[str, t.Any]]) -> t.Iterator[str]:
    """An engine's accounts hold the keys of all client hosts, so none can be written without asking all of them."""
    left_out = [name for name, client in clients.items() if "ssh" in client["transports"] and not client["in_run"]]
    if left_out:
        yield (
            f"--limit leaves out {listed(left_out)}, whose SSH keys the accounts on engines hold; add them to --limit, "
            "or their users would lose access."
        )


def limit(text: str, playbook: str, by_rotation: bool, ca_goes: bool) -> t.Iterator[str]:
    if text and ca_goes:
        yield "docker_remove_ca takes no --limit: nobody could renew the engines that the limit leaves out."
    if text and (playbook == "rotate_ca" or (playbook == "revoke_client" and by_rotation)):
        yield (
            "A CA is rotated for all engines and clients together, so this playbook takes no --limit. Hosts that are "
            'gone for good can be left out: -e \'{"docker_rotate_exclude": ["NAME"]}\'.'
        )


def ca_host_left_out(playbook: str, ca_host: str) -> t.Iterator[str]:
    if playbook in ("revoke_client", "change_passphrase", "export_identity"):
        yield f"--limit leaves out {ca_host}, which keeps the CA; add it to --limit, or nothing would be done there."


def ca_connection(values: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    unknown_names = [str(name) for name in values if name not in CONNECTION]
    if unknown_names:
        yield f"docker_ca_connection has {listed(unknown_names)}; it takes {listed(CONNECTION, len(CONNECTION))}."


def ca(host: str, values: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    for name in ("docker_ca_dir", "docker_ca_existing_certificate", "docker_ca_existing_private_key"):
        if not re.fullmatch(r"(/|~/)[^\0\r\n]+", values[name] or ("/-" if name != "docker_ca_dir" else "")):
            yield (
                f"{name} of {host} is {_variables.shown(values[name])}; it has to start with / or ~/, and has no line "
                "break."
            )
    if not 0 < len(values["docker_ca_common_name"]) < 56:
        yield f"docker_ca_common_name of {host} has to have 1 to 55 characters."
    if values["docker_ca_key_type"] == "RSA" and not 2048 <= values["docker_ca_key_size"] <= 8192:
        yield f"docker_ca_key_size of {host} is {values['docker_ca_key_size']}; RSA keys have 2048 to 8192 bits."
    if values["docker_ca_valid_days"] <= values["docker_ca_minimum_days"]:
        yield f"docker_ca_valid_days of {host} has to be more than its docker_ca_minimum_days."
    tasks, key = values["docker_ca_issue_tasks"], values["docker_ca_existing_private_key"]
    if tasks and not (pathlib.Path(tasks).is_absolute() and pathlib.Path(tasks).is_file()):
        yield (
            f"docker_ca_issue_tasks of {host} is {_variables.shown(tasks)}; it has to be a file of tasks on the "
            "control node with its whole path, such as '{{ inventory_dir }}/issue.yml'."
        )
    if tasks and key:
        yield (
            f"docker_ca_issue_tasks and docker_ca_existing_private_key of {host} exclude each other: who has the key "
            "issues. Remove one of them."
        )
    elif bool(values["docker_ca_existing_certificate"]) != bool(tasks or key):
        yield (
            f"docker_ca_existing_certificate of {host} goes with docker_ca_existing_private_key, or with "
            "docker_ca_issue_tasks where the key is elsewhere; set both of a pair or none."
        )


def ca_of_groups(host: str, values: t.Mapping[str, t.Any], groups: t.Sequence[str]) -> t.Iterator[str]:
    if groups and values["docker_ca_issue_tasks"]:
        yield (
            f"The key of the CA is elsewhere (docker_ca_issue_tasks of {host}), and {listed(groups)} would be CAs of "
            "their own, whose keys are here. Leave docker_engine_access and access away."
        )
    for group in groups:
        name = f"{values['docker_ca_common_name']} {group}"
        if len(name) > 55:
            yield (
                f"The CA of the access group {group!r} would be called {name!r}, which is longer than 55 characters. "
                f"Shorten docker_ca_common_name of {host}, or the name of the group."
            )


def issued_elsewhere(playbook: str, planned: t.Mapping[str, t.Any], by_rotation: bool) -> t.Iterator[str]:
    """What only the holder of the CA's key can do."""
    if not planned["issue_tasks"]:
        return
    if playbook == "rotate_ca" or by_rotation or planned["rotate_when_due"]:
        yield (
            f"The key of the CA is elsewhere (docker_ca_issue_tasks of {planned['host']}), so that it is not replaced "
            "by a playbook. Put the new CA behind the present one in docker_ca_existing_certificate and run "
            "bulkhead.docker.site; then the new one first, with tasks that ask that one; then the new one alone."
        )
    if playbook == "change_passphrase":
        yield (
            f"The key of the CA is elsewhere (docker_ca_issue_tasks of {planned['host']}), and so is its passphrase. "
            "Change it there."
        )
    if playbook == "export_identity":
        yield (
            f"The key of the CA is elsewhere (docker_ca_issue_tasks of {planned['host']}), and no identity of it is "
            "exported. Have it issued there, for a key that is made on that server."
        )


def rotation_when_due(host: str, values: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    """Whose files hold a CA has to bring its successor, too."""
    if (
        values["docker_ca_rotate_when_due"]
        and values["docker_ca_existing_certificate"]
        and not values["docker_ca_issue_tasks"]
    ):
        yield (
            f"docker_ca_rotate_when_due of {host} makes no successor of a CA of your own. Take docker_ca_existing_* "
            "out: that CA was copied when it was taken over, and its successor is one that is made. Or take "
            "docker_ca_rotate_when_due out, and rotate with bulkhead.docker.rotate_ca to the CA that you name."
        )
