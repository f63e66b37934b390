"""Files and functions stay small enough to be read at once, and errors are caught narrowly."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 60
LINES_FOR_EACH_BROAD_HANDLER = 1000
BROAD = {"Exception", "BaseException"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def test_a_file_has_fewer_than_400_lines(sources: tuple[Path, ...], root: Path) -> None:
    lengths = {str(p.relative_to(root)): len(p.read_text().splitlines()) for p in sources}

    too_long = {name: lines for name, lines in lengths.items() if lines >= MOST_LINES_OF_A_FILE}

    assert too_long == {}


def test_a_function_has_fewer_than_60_lines(sources: tuple[Path, ...], root: Path) -> None:
    """Its docstring is not counted."""
    too_long = {
        f"{path.relative_to(root)}:{function.lineno} {function.name}": function_lines(function)
        for path in sources
        for function in functions(path.read_text())
        if function_lines(function) >= MOST_LINES_OF_A_FUNCTION
    }

    assert too_long == {}


def test_what_catches_everything_says_why(sources: tuple[Path, ...], root: Path) -> None:
    unexplained = [
        f"{path.relative_to(root)}:{handler.lineno}"
        for path in sources
        for text in [path.read_text()]
        for handler in broad_handlers(text)
        if not is_explained(handler, text)
    ]

    assert unexplained == []


def test_little_catches_everything(sources: tuple[Path, ...], root: Path) -> None:
    """At most one handler of Exception or BaseException in a thousand lines of the package."""
    texts = [p.read_text() for p in sources if p.is_relative_to(root / "proxy")]
    lines = sum(len(text.splitlines()) for text in texts)

    handlers = sum(len(list(broad_handlers(text))) for text in texts)

    assert handlers <= max(1, lines // LINES_FOR_EACH_BROAD_HANDLER)


# The rules themselves


def test_a_docstring_is_not_counted() -> None:
    text = 'def f():\n    """One.\n\n    Two.\n    """\n    return 1\n'

    assert [function_lines(f) for f in functions(text)] == [2]


@pytest.mark.parametrize("caught", ["", " Exception", " (ValueError, BaseException)"])
def test_broad_handlers_are_found(caught: str) -> None:
    text = f"try:\n    pass\nexcept{caught}:\n    raise\n"

    assert len(list(broad_handlers(text))) == 1


def test_narrow_handlers_are_not_counted() -> None:
    assert list(broad_handlers("try:\n    pass\nexcept OSError:\n    pass\n")) == []


@pytest.mark.parametrize(
    ("handler", "explained"),
    [
        ("except Exception:\n    raise", False),
        ("except Exception:  # the edge: a client must get an answer\n    raise", True),
        ("except Exception:  # noqa: BLE001\n    raise", False),
        ("except Exception:  # noqa: BLE001 - the edge\n    raise", True),
        ("except Exception:\n    # the edge\n    raise", True),
        ("# the edge\nexcept Exception:\n    raise", True),
    ],
)
def test_an_explanation_is_a_comment_beside(handler: str, explained: bool) -> None:
    text = f"try:\n    pass\n{handler}\n"

    assert [explained] == [is_explained(found, text) for found in broad_handlers(text)]


def functions(text: str) -> Iterator[Function]:
    """Every function and method of a module, those inside of others too."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, Function):
            yield node


def function_lines(function: Function) -> int:
    """Lines from ``def`` to the end, without the docstring."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function, clean=False) is None:
        return lines
    docstring = function.body[0]
    return lines - ((docstring.end_lineno or docstring.lineno) - docstring.lineno + 1)


def broad_handlers(text: str) -> Iterator[ast.ExceptHandler]:
    """Handlers that catch everything, or nearly so."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ExceptHandler) and _is_broad(node.type):
            yield node


def _is_broad(caught: ast.expr | None) -> bool:
    if caught is None:
        return True
    if isinstance(caught, ast.Tuple):
        return any(_is_broad(one) for one in caught.elts)
    return isinstance(caught, ast.Name) and caught.id in BROAD


def is_explained(handler: ast.ExceptHandler, text: str) -> bool:
    """Whether a comment in words stands on the handler's line, before it, or first in it."""
    lines = text.splitlines()
    own, before = lines[handler.lineno - 1], lines[handler.lineno - 2]
    between = lines[handler.lineno : handler.body[0].lineno - 1]
    comments = [own.partition("#")[2], *(line.partition("#")[2] for line in (before, *between))]
    return any(_says_something(comment.strip()) for comment in comments)


def _says_something(comment: str) -> bool:
    if comment.startswith("noqa:"):
        return " - " in comment or " -- " in comment
    return bool(comment)
