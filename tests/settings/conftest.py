"""Configurations from text: each test sees its file as ``farebox.yaml``."""

from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from proxy.core.errors import ConfigurationError
from proxy.settings import Settings, load_settings

Load = Callable[..., Settings]
Refused = Callable[..., list[str]]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load a configuration from text and an environment."""
    monkeypatch.chdir(tmp_path)

    def loaded(text: str | bytes, env: Mapping[str, str] | None = None) -> Settings:
        content = text if isinstance(text, bytes) else dedent(text).encode()
        (tmp_path / "farebox.yaml").write_bytes(content)
        return load_settings(Path("farebox.yaml"), env or {})

    return loaded


@pytest.fixture
def refused(load: Load) -> Refused:
    """The problems that a configuration is refused with, in the order they are told."""

    def problems(text: str | bytes, env: Mapping[str, str] | None = None) -> list[str]:
        with pytest.raises(ConfigurationError) as error:
            load(text, env)
        first, *others = str(error.value).split("\n")
        return others or [first]

    return problems
