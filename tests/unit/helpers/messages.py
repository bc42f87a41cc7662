"""Every sentence with which the collection refuses something or fails, as it stands in the sources.

What is put in when it runs is shown as '…'.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import pathlib
import re
import typing as t

import yaml

ROOT = pathlib.Path(__file__).parents[3]
_GAP = "…"
# Raised for the program itself or for a sentence of somebody else, whose half they are.
_HALVES = {"HostError", "ProbeError", "ValueError", "RuntimeError", "TypeError", "OSError", "KeyError", "SystemExit"}
_JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Message:
    """One sentence, and where it is."""

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


@functools.cache
def collected() -> tuple[Message, ...]:
    found: list[Message] = []
    for path in sorted((ROOT / "plugins").rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if name == "plugins/plugin_utils/report.py":
            continue  # it repeats what others have said, and advises
        found += [Message(name, line, text) for line, text in of_python(path.read_text(encoding="utf-8"))]
    for folder in ("roles", "playbooks"):
        for path in sorted((ROOT / folder).rglob("*.yml")):
            name = str(path.relative_to(ROOT))
            found += [Message(name, line, text) for line, text in of_tasks(path.read_text(encoding="utf-8"))]
    return tuple(found)


# -- Python ------------------------------------------------------------------------------------------------------------


def of_python(source: str) -> t.Iterator[tuple[int, str]]:
    """What is raised, what a module fails with, and the sentences that a function gives to whoever fails with them."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and _name(node.exc.func) not in _HALVES:
            texts = _texts(node.exc.args[0]) if node.exc.args else []
        elif isinstance(node, ast.Call) and _name(node.func) == "fail_json":
            texts = [text for word in node.keywords if word.arg == "msg" for text in _texts(word.value)]
        else:
            texts = [text for given in _given(node) for text in _texts(given) if _is_sentence(text)]
        for text in texts:
            if _says_something(text):
                yield node.lineno, text  # type: ignore[attr-defined]


def _given(node: ast.AST) -> list[ast.expr]:
    """What is returned, yielded or put into a list or dictionary of problems."""
    if isinstance(node, (ast.Return, ast.Yield)) and node.value:
        return [node.value]
    if isinstance(node, ast.Call) and _name(node.func) in ("say", "append"):
        return node.args
    if isinstance(node, ast.Assign) and (isinstance(node.targets[0], ast.Subscript) or _name(node.targets[0]) == "msg"):
        return [node.value]
    if isinstance(node, ast.Dict):
        return [
            value for key, value in zip(node.keys, node.values) if isinstance(key, ast.Constant) and key.value == "msg"
        ]
    return []


def _is_sentence(text: str) -> bool:
    return text.endswith((".", f". {_GAP}", f": {_GAP}")) and text.count(" ") > 4


def _says_something(text: str) -> bool:
    """Whether there is enough of it to be found, and not only what others have said."""
    return bool(re.search(r"[a-z]{3}", text)) and len(text.replace(_GAP, "").strip(" (),;:'.")) > 10


def _name(function: ast.expr) -> str:
    return (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )


def _texts(node: ast.expr) -> list[str]:
    """The texts that an expression may have."""
    if isinstance(node, ast.IfExp):
        return _texts(node.body) + _texts(node.orelse)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [one + other for one in _texts(node.left) or [_GAP] for other in _texts(node.right) or [_GAP]]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else _GAP for part in node.values)
        return [re.sub(f"{_GAP}+", _GAP, text).replace("\n", " ")]
    if isinstance(node, (ast.List, ast.ListComp)):
        return [text for entry in (node.elts if isinstance(node, ast.List) else [node.elt]) for text in _texts(entry)]
    return []


# -- roles and playbooks -----------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """With the line of each mapping."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[t.Any, t.Any]:
    return {**loader.construct_mapping(node, deep=True), "__line__": node.start_mark.line + 1}


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def of_tasks(source: str) -> t.Iterator[tuple[int, str]]:
    """The messages of assert and fail, and the variables of their tasks from which one is chosen."""
    todo: list[t.Any] = [yaml.load(source, _Loader)]  # noqa: S506  # a SafeLoader
    while todo:
        item = todo.pop()
        if isinstance(item, list):
            todo += item
        if not isinstance(item, dict):
            continue
        todo += item.values()
        for module, key in (("ansible.builtin.assert", "fail_msg"), ("ansible.builtin.fail", "msg")):
            options = item.get(module)
            if isinstance(options, dict) and isinstance(options.get(key), str):
                chosen = [text for name, text in (item.get("vars") or {}).items() if name in options[key]]
                for said in (options[key], *filter(lambda text: isinstance(text, str), chosen)):
                    text = " ".join(_JINJA.sub(_GAP, said).split())
                    if _says_something(text):
                        yield options["__line__"], text
