"""How values are written down for Prometheus: its classic text format, and OpenMetrics with exemplars."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from proxy.core.money import NANO_PER_USD, usd
from proxy.observe.families import Exemplar, Exemplars, Family, Labels, Snapshot

CLASSIC = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
END = b"# EOF\n"  # of a page in OpenMetrics


def accepts_openmetrics(accept: str) -> bool:
    """Whether who asks would rather have OpenMetrics than the classic text, as Prometheus does."""
    asked = list(_weights(accept))
    rich = max((q for name, q in asked if name == "application/openmetrics-text"), default=0)
    plain = max((q for name, q in asked if name in {"text/plain", "text/*"}), default=0)
    return rich > plain


def _weights(accept: str) -> Iterator[tuple[str, float]]:
    for part in accept.lower().split(","):
        name, *parameters = (text.strip() for text in part.split(";"))
        weight = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        try:
            yield name, float(weight)
        except ValueError:
            yield name, 0.0


def exposition(
    families: Sequence[Family], values: Snapshot, exemplars: Exemplars | None = None
) -> bytes:
    """Every family with its series, in the order of declaration; one without series shows its meaning only.

    With exemplars (though there be none) it is OpenMetrics, but for the mark of its end; without, the
    classic format, which has no place for them.
    """
    lines: list[str] = []
    for family in families:
        name = family.name if exemplars is None else family.name.removesuffix("_total")
        lines += f"# HELP {name} {_help(family.help)}", f"# TYPE {name} {family.kind}"
        calls = (exemplars or {}).get(family.name, {})
        bounds = _bounds(family)
        for labels, value in values.get(family.name, {}).items():
            text = _label_text(family.labels, labels)
            if isinstance(value, int):
                lines.append(f"{family.name}{_braced(text)} {_shown(value, family.scale)}")
            else:
                lines += _histogram_lines(family, bounds, text, value, calls.get(labels, {}))
    lines.append("")
    return "\n".join(lines).encode()


def _histogram_lines(
    family: Family,
    bounds: Sequence[str],
    text: str,
    value: list[int],
    calls: Mapping[int, Exemplar],
) -> Iterable[str]:
    start = f'{family.name}_bucket{{{text},le="' if text else f'{family.name}_bucket{{le="'
    below = 0
    lines = []
    for bound, count in zip(bounds, value, strict=False):
        below += count
        lines.append(f'{start}{bound}"}} {below}')
    for place, call in calls.items():
        lines[place] += _exemplar(call, family.scale)
    lines += (
        f"{family.name}_count{_braced(text)} {below}",
        f"{family.name}_sum{_braced(text)} {_shown(value[-1], family.scale)}",
    )
    return lines


def _exemplar(call: Exemplar, scale: int) -> str:
    # At the end of the call: its start may lie before what Prometheus still takes.
    at_s = (call.started_at_us + call.value) / 1_000_000
    return f' # {{call_id="{call.call_id}"}} {_shown(call.value, scale)} {at_s:.3f}'


def _bounds(family: Family) -> tuple[str, ...]:
    return (*(_bound(bound) for bound in family.bounds), "+Inf")


def _bound(bound: float) -> str:
    """Always with a point, also where it is whole: Prometheus 3 stores it so, whatever it is sent."""
    text = f"{float(bound):g}"
    return text if "." in text or "e" in text else f"{text}.0"


def _braced(text: str) -> str:
    return f"{{{text}}}" if text else ""


def _shown(value: int, scale: int) -> str:
    if scale == 1:
        return str(value)
    return usd(value) if scale == NANO_PER_USD else repr(value / scale)


def _label_text(names: Labels, values: Labels) -> str:
    return ",".join([f'{n}="{_escaped(v)}"' for n, v in zip(names, values, strict=True)])


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _help(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")
