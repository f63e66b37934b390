"""SVG as text: elements with escaped attributes and contents. No style anywhere: classes and numbers only."""

from collections.abc import Iterable
from html import escape

from markupsafe import Markup


def element(name: str, *inside: Markup | str, **attributes: str | float | None) -> Markup:
    """One element. ``class_`` is class, other underscores are hyphens; None leaves an attribute out."""
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_text(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    body = "".join(part if isinstance(part, Markup) else escape(part) for part in inside)
    return Markup(f"<{name}{said}>{body}</{name}>")  # noqa: S704 - escaped just above


def join(parts: Iterable[Markup]) -> Markup:
    """Elements side by side."""
    return Markup("").join(parts)


def percent(part: float, whole: float) -> str:
    """A place or a length as a share of the drawing's width."""
    return f"{_text(100 * part / whole if whole else 0.0)}%"


def _text(value: str | float) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return str(value)
