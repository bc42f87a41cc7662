# Copyright (c) 2026, the bulkhead.docker maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host answers, as data: only what a module documents, in the types that it documents, and no variables.

Ansible makes host variables of `ansible_facts` and statistics of `ansible_stats` in any module's result. Whoever
answers for a host could set variables of the run with them.
"""

from __future__ import annotations

import ast
import pathlib
import typing as t

import yaml

_Documented = t.Mapping[str, t.Mapping[str, t.Any]]
Answer = dict[str, t.Any]

# What Ansible itself acts on; never taken from a host.
_VARIABLES = ("ansible_facts", "ansible_stats", "add_host", "add_group")
# What every result may have, beside what its module documents.
_COMMON: _Documented = {
    "changed": {"type": "bool"},
    "failed": {"type": "bool"},
    "skipped": {"type": "bool"},
    "unreachable": {"type": "bool"},
    "msg": {"type": "str"},
    "warnings": {"type": "list"},
    "deprecations": {"type": "list"},
    "diff": {"type": "raw"},
    "exception": {"type": "raw"},
    "invocation": {"type": "raw"},
}
_TYPES: dict[str, type | tuple[type, ...]] = {
    "str": str,
    "path": str,
    "int": int,
    "float": (int, float),
    "bool": bool,
    "list": list,
    "dict": dict,
}
# What may be null where there is nothing to say.
_NULLABLE = ("str", "int", "float", "dict", "list")


def documented(module: pathlib.Path) -> _Documented:
    """The keys of the module's RETURN section."""
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["RETURN"]:
            return yaml.safe_load(ast.literal_eval(node.value)) or {}
    return {}


def without_variables(answer: t.Mapping[str, t.Any]) -> Answer:
    return {key: value for key, value in answer.items() if key not in _VARIABLES}


def checked(answer: t.Mapping[str, t.Any], returns: _Documented, host: str, module: str) -> Answer:
    """The answer without anything undocumented, or a failure of this host where it is none that the module gives."""
    known = {**_COMMON, **returns}
    kept = {key: value for key, value in answer.items() if key in known or key.startswith("_ansible_")}
    problems = _problems(kept, known, "")
    if not problems and not kept.get("failed") and not kept.get("unreachable") and not kept.get("skipped"):
        problems = [f"'{key}' is missing" for key, entry in returns.items() if _always(entry) and key not in kept]
    if problems:
        return {
            "failed": True,
            "changed": False,
            "msg": f"{host} does not answer as the module {module} does: {'; '.join(problems[:3])}. Nothing was taken "
            "from it. Check which Python ansible_python_interpreter starts there, and whether the host is sound.",
        }
    return kept


def _always(entry: t.Mapping[str, t.Any]) -> bool:
    return entry.get("returned") in ("success", "always")


def _problems(values: t.Mapping[str, t.Any], known: _Documented, where: str) -> list[str]:
    found = []
    for key, entry in known.items():
        if key in values:
            found += _mismatch(values[key], entry, f"{where}{key}")
    return found


def _mismatch(value: t.Any, entry: t.Mapping[str, t.Any], name: str) -> list[str]:
    kind = str(entry.get("type", "raw"))
    wanted: t.Any = _TYPES.get(kind)
    if wanted is None or (value is None and kind in _NULLABLE):
        return []
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind in ("int", "float")):
        return [f"'{name}' is no {kind}"]
    if kind == "dict":
        return _problems(value, entry.get("contains") or {}, f"{name}.")
    if kind == "list" and "elements" in entry:
        element: dict[str, t.Any] = {"type": entry["elements"], "contains": entry.get("contains") or {}}
        return [problem for item in value for problem in _mismatch(item, element, f"{name}[]")]
    return []
