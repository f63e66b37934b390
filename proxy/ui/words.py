"""Numbers, money and times as the page writes them. Money comes in nano-dollars, as the ledger has it."""

from datetime import UTC, datetime

from proxy.core.money import NANO_PER_USD, round_half_even, usd

_CENT = NANO_PER_USD // 100
_THOUSAND = 1000
_SECOND_MS = 1000
_FINE = 3  # digits that a small amount keeps


def dollars(nano: int) -> str:
    """To the cent: $1,234.56; what is less than a cent, and not nothing, to two digits: $0.00018."""
    if nano and abs(nano) < _CENT:
        return _signed(nano, usd(_rounded(abs(nano), 2)))
    cents = round_half_even(abs(nano), _CENT)
    return _signed(nano, f"{cents // 100:,}.{cents % 100:02}")


def fine(nano: int) -> str:
    """An amount that may be far below a cent, to three digits: $0.00123; from a dollar, to the cent."""
    if abs(nano) >= NANO_PER_USD or not nano:
        return dollars(nano)
    return _signed(nano, usd(_rounded(abs(nano), _FINE)))


def exact(nano: int) -> str:
    """To the last nano-dollar."""
    text = usd(abs(nano))
    whole, _, fraction = text.partition(".")
    return _signed(nano, f"{int(whole):,}.{fraction}")


def _rounded(nano: int, digits: int) -> int:
    step: int = 10 ** max(0, len(str(nano)) - digits)
    return round_half_even(nano, step) * step


def _signed(nano: int, text: str) -> str:
    return f"{'-' if nano < 0 else ''}${text}"


def count(number: int) -> str:
    """1,234,567."""
    return f"{number:,}"


def short(number: float) -> str:
    """1.2M, 34k, 512: for where there is little room."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            scaled = number / size
            return f"{scaled:.1f}{unit}" if abs(scaled) < 100 else f"{scaled:.0f}{unit}"  # noqa: PLR2004 - three digits
    return f"{number:.0f}"


def percent(part: int, whole: int, digits: int = 1) -> str:
    """A share: 12.3 %. Of nothing there is none."""
    return f"{100 * part / whole:.{digits}f} %" if whole else "–"


def duration(ms: float | None) -> str:
    """850 ms, 1.25 s, 12.3 s."""
    if ms is None:
        return "–"
    if ms < 1:
        return f"{ms:.2f} ms"
    if ms < _SECOND_MS:
        return f"{ms:.0f} ms"
    return f"{ms / _SECOND_MS:.2f} s" if ms < 10 * _SECOND_MS else f"{ms / _SECOND_MS:.1f} s"


def day(second: int) -> str:
    """Tue 3 Nov."""
    moment = datetime.fromtimestamp(second, UTC)
    return f"{moment:%a} {moment.day} {moment:%b}"


def short_day(second: int) -> str:
    """3 Nov."""
    moment = datetime.fromtimestamp(second, UTC)
    return f"{moment.day} {moment:%b}"


def hour(second: int) -> str:
    """14:00."""
    return f"{datetime.fromtimestamp(second, UTC):%H:%M}"


def when(iso: str) -> str:
    """A time of a row: 25 Nov 07:31:21."""
    moment = datetime.fromisoformat(iso)
    return f"{moment.day} {moment:%b} {moment:%H:%M:%S}"


def date_of(iso: str | None) -> str:
    """The day of a time: 2026-11-25; – where there is none."""
    return iso[:10] if iso else "–"
