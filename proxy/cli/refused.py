"""What is wrong with an option, in the words of a command line."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from pydantic import ValidationError

_OPTIONS: Final[Mapping[str, str]] = {"name": "name", "expires_at": "--expires"}


def refused(error: "ValidationError", otherwise: str) -> typer.BadParameter:
    """Pydantic's first finding, as one of its option; ``otherwise`` where it is of no single field."""
    from proxy.admin.wording import explained  # noqa: PLC0415 - slow; ``--help`` does without

    return wrong(*explained(error.errors()[:1]), otherwise)


def wrong(message: str, field: str | None, otherwise: str) -> typer.BadParameter:
    """The message about a field, as one about its option."""
    option = _OPTIONS.get(field, f"--{field.replace('_', '-')}") if field else otherwise
    return typer.BadParameter(message.removeprefix(f"{field}: "), param_hint=option)
