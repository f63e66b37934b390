"""Whatever stands in the file: settings, or problems that are explained; never anything else."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.errors import ConfigurationError
from proxy.settings import Settings, load_settings
from proxy.settings.budgets import Section
from proxy.settings.shape import fields


def sections(of: type[Section]) -> list[type[Section]]:
    return [below for sub in of.__subclasses__() for below in (sub, *sections(sub))]


NAMES = sorted({name for section in sections(Section) for name in fields(section)})
SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.dates(),
    st.binary(max_size=5),
    st.text(max_size=20),
    st.sampled_from(
        [
            "a",
            "*",
            "team",
            "key",
            "tag",
            "a/b",
            "http://h",
            "${A}",
            "${A:-}",
            "${A:-x}",
            "${",
            "$$",
            "reject",
            "block",
            "sqlite:///x",
            "postgresql://x",
            "1e99999",
            "-0",
            ".",
            "[",
            "1_0",
        ]
    ),
)
ANY = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner, max_size=6)
    ),
    max_leaves=30,
)


def parts(section: type[Section]) -> st.SearchStrategy[Any]:
    """A section as it may be meant: fields of its own, with anything in them."""
    return st.dictionaries(st.sampled_from(sorted(fields(section))), ANY, max_size=6)


FILES = st.fixed_dictionaries(
    {},
    optional={
        name: ANY
        | st.lists(st.one_of([parts(s) for s in sections(Section)]), max_size=3)
        | st.dictionaries(st.sampled_from("ab"), st.one_of([parts(s) for s in sections(Section)]))
        for name in fields(Settings)
    },
)


Load = Callable[[bytes, dict[str, str]], None]


@pytest.fixture(scope="session")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    """Load a file with these bytes; that it is refused is well too."""
    file = tmp_path_factory.mktemp("settings") / "any.yaml"

    def loaded(content: bytes, env: dict[str, str]) -> None:
        file.write_bytes(content)
        with contextlib.suppress(ConfigurationError):
            load_settings(file, env)

    return loaded


@settings(max_examples=60)
@given(tree=FILES, value=st.text(max_size=10))
def test_any_tree(load: Load, tree: Any, value: str) -> None:
    content = yaml.safe_dump(tree, allow_unicode=True).encode()

    load(content, {"A": value})


@settings(max_examples=60)
@given(content=st.binary(max_size=200) | st.text(alphabet="a:-[]{}&*!<>|%@#'\"\n \t$", max_size=60))
def test_any_bytes(load: Load, content: bytes | str) -> None:
    load(content if isinstance(content, bytes) else content.encode(), {})


PATHS = st.lists(
    st.sampled_from([n.upper() for n in NAMES] + ["", "A", "_"]), min_size=1, max_size=4
)


@settings(max_examples=60)
@given(path=PATHS, value=st.text(min_size=1, max_size=5), tree=FILES)
def test_any_variable(load: Load, path: list[str], value: str, tree: Any) -> None:
    content = yaml.safe_dump(tree, allow_unicode=True).encode()

    load(content, {"FAREBOX_" + "__".join(path): value})
