"""Calls as Parquet, page by page; an extra, since pyarrow is large."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from proxy.core.errors import FareboxError

_MONEY = ("cost_usd", "adjusted_usd", "held_usd", "stated_usd", "list_usd")
_COUNTS = (
    "status", "input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens",
    "reasoning_tokens", "output_cap", "attempts",
)  # fmt: skip
_TIMES = ("duration_ms", "time_to_first_byte_ms", "overhead_ms")


class ParquetFile:
    """A file of calls. Money is DECIMAL(28, 9), exact; tags are JSON text."""

    def __init__(self, path: Path, names: Iterable[str]) -> None:
        """Raises FareboxError where pyarrow is not installed."""
        try:
            import pyarrow as pa  # noqa: PLC0415 - an extra
            import pyarrow.parquet as pq  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise FareboxError("Parquet needs pyarrow; install farebox[parquet]") from error
        kinds = {
            **dict.fromkeys(_MONEY, pa.decimal128(28, 9)),
            **dict.fromkeys(_COUNTS, pa.int64()),
            **dict.fromkeys(_TIMES, pa.float64()),
            "started_at": pa.timestamp("us", tz="UTC"),
            "stream": pa.bool_(),
        }
        self._pa = pa
        self._schema = pa.schema([(name, kinds.get(name, pa.string())) for name in names])
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()

    def write(self, rows: list[Mapping[str, Any]]) -> None:
        """Some more calls."""
        columns = {name: [_cell(name, row[name]) for row in rows] for name in self._schema.names}
        self._writer.write_table(self._pa.table(columns, schema=self._schema))


def _cell(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in _MONEY:
        return Decimal(value)
    if name == "started_at":
        return datetime.fromisoformat(value)
    if isinstance(value, dict):
        import orjson  # noqa: PLC0415 - slow; ``--help`` does without

        return orjson.dumps(value).decode()
    return value
