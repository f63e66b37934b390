"""From the bytes of a YAML file to a document: lines kept, repeated keys refused, variables filled in.

Numbers are read as they look: ``0123`` and ``1:30`` are text, though YAML 1.1 has a use for them, and
a decimal number stays exact. ``yes``, ``no``, ``on`` and ``off`` are text too; a true-or-false field
takes them.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

from proxy.settings.document import Document, Path, show

LARGEST = 100_000  # values; anchors repeated within anchors could ask for more than memory holds

_WRITTEN = re.compile(
    r"\$(?:\$|\{(?P<name>[A-Za-z_]\w*)(?::-(?P<default>[^{}]*))?\}|(?P<open>\{))", re.ASCII
)


def read(file: str, content: bytes, env: Mapping[str, str]) -> Document:
    """Parse first, fill in variables then: no value of a variable can change the structure.

    What is wrong is noted in the document; a file that can't be parsed gives an empty tree.
    """
    document = Document(file)
    try:
        root = yaml.compose(content.decode("utf-8-sig"), Loader=yaml.SafeLoader)
        if root is not None:
            document.tree = _Reader(document, env).tree(root)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        document.refuse((), "is not UTF-8 text; save the file as UTF-8", line=line)
    except yaml.MarkedYAMLError as error:
        _refuse_syntax(document, error)
    except yaml.YAMLError:
        document.refuse((), "holds a control character, which YAML does not allow; remove it")
    except RecursionError:
        document.refuse((), "is nested too deeply; nothing in a configuration is")
    return document


def _refuse_syntax(document: Document, error: yaml.MarkedYAMLError) -> None:
    """PyYAML's own words, without the pieces of the file that they quote."""
    mark = error.problem_mark or error.context_mark
    what = re.sub(r"'!?\w[^']+'", "it", error.problem or error.context or "unreadable")
    document.refuse(
        (),
        f"is not valid YAML: {what}; check the indentation, and put into quotes what holds ': ' or "
        "' #' or starts with one of * & ! % @ ` { [, and within brackets also ${NAME}",
        line=mark.line + 1 if mark else 0,
    )


class _Reader:
    """Builds the tree of one document."""

    def __init__(self, document: Document, env: Mapping[str, str]) -> None:
        self._document = document
        self._env = env
        self._merged: set[int] = set()
        self._open: set[int] = set()
        self._count = 0

    def tree(self, root: yaml.Node) -> dict[str, Any]:
        value = self._value((), root)
        if isinstance(value, dict):
            return value
        if value is not None:
            got = "text" if isinstance(value, str) else show(value)  # a wrong file may be a key's
            self._document.refuse((), f"expected lines of 'name: value', got {got}")
        return {}

    def _value(self, path: Path, node: yaml.Node) -> Any:
        self._document.lines.setdefault(path, node.start_mark.line + 1)
        self._count += 1
        if id(node) in self._open or self._count > LARGEST:
            problem = "an anchor (&) is repeated within itself, or too often"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(path, node)
            if isinstance(node, yaml.SequenceNode):
                return [self._value((*path, i), item) for i, item in enumerate(node.value)]
            return self._scalar(path, node)
        finally:
            self._open.discard(id(node))

    # Structure...

    def _mapping(self, path: Path, node: yaml.MappingNode) -> dict[str, Any]:
        if id(node) not in self._merged:
            self._merged.add(id(node))
            self._refuse_repeated_keys(path, node)
            SafeConstructor().flatten_mapping(node)  # "<<: *anchor", with what stands here winning
        mapping = {}
        for key, value in node.value:
            below = (*path, key.value)
            self._document.lines[below] = key.start_mark.line + 1
            mapping[key.value] = self._value(below, value)
        return mapping

    def _refuse_repeated_keys(self, path: Path, node: yaml.MappingNode) -> None:
        first: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                problem = "a name can't be a list or a group"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            line = key.start_mark.line + 1
            if key.value in first:
                self._document.refuse(
                    (*path, key.value),
                    f"stands here a second time (first in line {first[key.value]}); keep one",
                    line=line,
                )
            first.setdefault(key.value, line)

    # Scalars...

    def _scalar(self, path: Path, node: yaml.Node) -> Any:
        tag = node.tag.removeprefix("tag:yaml.org,2002:")
        if tag not in _PLAIN:
            self._document.refuse(
                path, "has a YAML tag (a word that starts with '!'); remove it, or use quotes"
            )
        return self._filled_in(path, node.value) if "$" in node.value else _plain(tag, node.value)

    def _filled_in(self, path: Path, text: str) -> str:
        """Fill in ``${VAR}`` and ``${VAR:-default}``. An empty variable is one that is not set."""
        missing: list[str] = []

        def one(found: re.Match[str]) -> str:
            name, default = found["name"], found["default"]
            if found["open"]:
                self._document.refuse(path, _NO_VARIABLE)
                return ""
            if name is None:
                return "$"
            self._document.mentioned.add(name)
            value = self._env.get(name, "")
            if value:
                self._document.variables[path] = name
            elif default is None:
                missing.append(name)
            return value or default or ""

        filled = _WRITTEN.sub(one, text)
        if missing:
            self._document.refuse(path, _not_set(missing))
        return filled


def _not_set(names: list[str]) -> str:
    if len(names) == 1:
        which, them = f"variable {names[0]} is", "it"
    else:
        which, them = f"variables {', '.join(names)} are", "them"
    return (
        f"the environment {which} not set; set {them}, or write ${{{names[0]}:-a default}}, "
        f"or ${{{names[0]}:-}} to go without"
    )


_PLAIN = ("null", "bool", "int", "float", "str", "timestamp", "value")
_NO_VARIABLE = (
    "has a '${' that starts no variable; write ${NAME} or ${NAME:-default}, without braces in the "
    "default, and $$ for a plain $"
)


def _plain(tag: str, text: str) -> Any:
    match tag:
        case "null":
            return None
        case "bool" if text.lower() in {"true", "false"}:
            return text.lower() == "true"
        case "int" if re.fullmatch(r"[-+]?(0|[1-9][0-9_]*)", text):
            return int(text.replace("_", ""))
        case "float" if _DECIMAL.fullmatch(text):
            return Decimal(text)
        case _:
            return text


_DECIMAL = re.compile(r"[-+]?([0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?")
