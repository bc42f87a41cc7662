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
import re
import typing as t

from ansible.module_utils.common.yaml import yaml_load

_Documented = t.Mapping[str, t.Mapping[str, t.Any]]
Answer = dict[str, t.Any]

# What Ansible itself acts on; never taken from a host. One that answers is not unreachable either.
_VARIABLES = ("ansible_facts", "ansible_stats", "add_host", "add_group", "unreachable")
# Ansible's own finding about a host, which it puts beside the answer.
_INTERPRETER = "discovered_interpreter_"
# What every result may have, beside what its module documents.
_COMMON: _Documented = {
    "changed": {"type": "bool"},
    "failed": {"type": "bool"},
    "msg": {"type": "str"},
    "module_stderr": {"type": "str"},
    "warnings": {"type": "list"},
    "deprecations": {"type": "list"},
    "diff": {"type": "raw"},
    "exception": {"type": "raw"},
    "invocation": {"type": "raw"},
}
_LONGEST = 100_000  # characters of one text; the largest trust bundle has some thousands
_TYPES: dict[str, type | tuple[type, ...]] = {
    "str": str,
    "path": str,
    "int": int,
    "float": (int, float),
    "bool": bool,
    "list": list,
    "dict": dict,
}
# What is null only where its description says when; all else may be where there is nothing to say.
_NOT_NULLABLE = ("bool", "list")


def documented(module: pathlib.Path) -> _Documented:
    """The keys of the module's RETURN section."""
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["RETURN"]:
            return yaml_load(ast.literal_eval(node.value)) or {}
    return {}


def without_variables(answer: t.Mapping[str, t.Any]) -> Answer:
    """The answer without what Ansible would act on, and as text that a terminal can show."""
    return {key: printable(value) for key, value in answer.items() if key not in _VARIABLES}


def sets_variables(answer: t.Mapping[str, t.Any]) -> bool:
    """Whether a host tries what no module of this collection does."""
    facts = answer.get("ansible_facts") or {}
    known = isinstance(facts, t.Mapping) and all(str(name).startswith(_INTERPRETER) for name in facts)
    return not known or any(answer.get(key) for key in _VARIABLES if key != "ansible_facts")


def interpreter(key: t.Any, path: t.Any) -> Answer:
    """Which Python Ansible has found on a host, as the fact that spares it from searching again for every task."""
    plain = isinstance(path, str) and re.fullmatch(r"/[A-Za-z0-9_./+-]{1,200}", path)
    return {"ansible_facts": {str(key): path}} if key and plain else {}


def printable(value: t.Any) -> t.Any:
    """Text keeps its lines, and nothing else that a terminal would act on."""
    if isinstance(value, t.Mapping):
        return {printable(key): printable(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [printable(entry) for entry in value]
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(character if character.isprintable() or character in "\n\t" else " " for character in value)


def checked(answer: t.Mapping[str, t.Any], returns: _Documented, host: str, module: str) -> Answer:
    """The answer without anything undocumented, or a failure of this host where it is none that the module gives."""
    known = {**_COMMON, **returns}
    kept = {key: value for key, value in answer.items() if key in known or key.startswith("_ansible_")}
    problems = _problems(kept, known, "")
    if not problems and not kept.get("failed"):
        problems = [f"'{key}' is missing" for key, entry in returns.items() if _always(entry) and key not in kept]
    return refusal(host, module, problems) if problems else kept


def well_formed(answer: t.Mapping[str, t.Any], host: str, module: str) -> Answer:
    """The answer of a module whose documentation is not at hand: what all modules give has to have its types."""
    problems = _problems(answer, _COMMON, "")
    return refusal(host, module, problems) if problems else dict(answer)


def refusal(host: str, module: str, problems: t.Iterable[str]) -> Answer:
    said = "; ".join(list(dict.fromkeys(problems))[:3])
    return {
        "failed": True,
        "changed": False,
        "msg": f"{host} does not answer as the module {module} does: {said}. Nothing was taken from it. Check which "
        "Python ansible_python_interpreter starts there, and whether the host is sound.",
    }


def _always(entry: t.Mapping[str, t.Any]) -> bool:
    return entry.get("returned") in ("success", "always")


def _problems(values: t.Mapping[str, t.Any], known: _Documented, where: str) -> list[str]:
    found = []
    for key, entry in known.items():
        if key in values:
            found += _mismatch(values[key], entry, f"{where}{key}")
        elif where and "returned" not in entry:
            found.append(f"'{where}{key}' is missing")
    return found


def _mismatch(value: t.Any, entry: t.Mapping[str, t.Any], name: str) -> list[str]:
    kind = str(entry.get("type", "raw"))
    wanted: t.Any = _TYPES.get(kind)
    if wanted is None or (value is None and (kind not in _NOT_NULLABLE or "null" in str(entry.get("description")))):
        return []
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind in ("int", "float")):
        return [f"'{name}' is no {kind}"]
    if isinstance(value, str) and len(value) > _LONGEST:
        return [f"'{name}' is longer than {_LONGEST} characters"]
    if kind == "dict":
        return _problems(value, entry.get("contains") or {}, f"{name}.")
    if kind == "list" and "elements" in entry:
        element: dict[str, t.Any] = {"type": entry["elements"], "contains": entry.get("contains") or {}}
        return [problem for item in value for problem in _mismatch(item, element, f"{name}[]")]
    return []
