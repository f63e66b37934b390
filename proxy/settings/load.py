"""Loading: file, variables, environment, then every check, and all problems in one message."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from proxy.core.errors import ConfigurationError
from proxy.settings.document import Document
from proxy.settings.environment import override
from proxy.settings.explain import refuse_all
from proxy.settings.models import Settings
from proxy.settings.reading import read
from proxy.settings.references import check


def load_settings(path: Path | None, env: Mapping[str, str]) -> Settings:
    """Read the configuration; without a file, the defaults with the environment over them.

    Raises ConfigurationError that lists every problem: file and line (or environment variable), the
    path in it, and what to write instead. No message holds a secret.
    """
    document = Document("the configuration") if path is None else read(str(path), _bytes(path), env)
    override(document, env)
    settings = _validated(document)
    check(document)
    if settings is None or document.problems:
        raise ConfigurationError(_told(document))
    return settings


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path}: there is no such file; name one with --config or FAREBOX_CONFIG"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path}: can't be read: {error.strerror}") from None


def _validated(document: Document) -> Settings | None:
    try:
        return Settings.model_validate(document.tree)
    except ValidationError as error:
        refuse_all(document, error)
        return None


def _told(document: Document) -> str:
    problems = sorted(document.problems.values(), key=lambda problem: problem.line)
    lines = [str(problem) for problem in problems]
    return lines[0] if len(lines) == 1 else "\n".join([f"{len(lines)} problems:", *lines])
