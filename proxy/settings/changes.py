"""What a reload changes, and which of it needs a new start."""

from typing import Any

from proxy.settings.budgets import Section
from proxy.settings.document import Path, dotted
from proxy.settings.models import Settings

_FIXED_AT_START = (
    "database",
    "server.host",
    "server.port",
    "server.workers",
    "tracing.endpoint",
    "tracing.headers",
    "tracing.service_name",
    "tracing.sample",
    "server.keep_alive_s",
    "server.head_timeout_s",
    "server.body_timeout_s",
    "server.shutdown_grace_s",
    "ledger.unavailable",
    "ledger.durability",
    "ledger.lease_s",
    "ledger.answer_timeout_s",
    "ledger.lost",
    "ledger.spool_dir",
    "logging.format",
    "logging.level",
    "metrics.max_label_sets",
)


def changed(old: Settings, new: Settings) -> tuple[str, ...]:
    """The dotted paths whose values differ; a list that grew or shrank counts as one."""
    return tuple(dotted(path) for path in _differences(old, new, ()))


def needs_restart(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the paths that take effect only when Farebox is started anew."""
    return tuple(path for path in paths if path in _FIXED_AT_START)


def _differences(old: Any, new: Any, path: Path) -> list[Path]:
    if old == new:
        return []
    if isinstance(old, Section) and type(old) is type(new):
        return [
            found
            for name in type(old).model_fields
            for found in _differences(getattr(old, name), getattr(new, name), (*path, name))
        ]
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            found
            for name in old | new
            for found in _differences(old.get(name), new.get(name), (*path, name))
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            found
            for i, (before, after) in enumerate(zip(old, new, strict=True))
            for found in _differences(before, after, (*path, i))
        ]
    return [path]
