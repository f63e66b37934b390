"""Money: an ``int`` of nano-dollars (1e-9 USD) everywhere inside, ``Decimal`` only at the border."""

from decimal import Decimal, InvalidOperation
from fractions import Fraction

NANO_PER_USD = 1_000_000_000
MOST_NANO = 2**63 - 1  # a BIGINT
_MOST_DIGITS = 10  # of whole dollars: the ledger's 64 bits hold 9.2 billion of them


def nano_from_usd(amount: str | float | Decimal) -> int:
    """Read an amount in US dollars as nano-dollars, exactly.

    A float is read as it is written (``0.1`` is ten cents), because YAML and JSON give floats.
    Raises ValueError for what is no finite number, finer than a nano-dollar, or more than the ledger
    can hold.
    """
    try:
        value = Decimal(str(amount))
    except InvalidOperation:
        raise ValueError(f"{amount!r} is not an amount of money") from None
    if not value.is_finite():
        raise ValueError(f"{amount!r} is not an amount of money")
    # Looked at before anything is computed with it: 1e999999999 is a short text and a long integer.
    if value and value.adjusted() >= _MOST_DIGITS:
        raise ValueError(f"{amount} USD is more than the ledger can hold ({usd(MOST_NANO)})")
    if value and value.adjusted() < -_MOST_DIGITS:
        raise ValueError(f"{amount} USD is finer than a nano-dollar (9 decimal places)")
    nano = Fraction(value) * NANO_PER_USD  # Decimal would round to its context's digits
    if nano.denominator != 1:
        raise ValueError(f"{amount} USD is finer than a nano-dollar (9 decimal places)")
    if abs(nano) > MOST_NANO:
        raise ValueError(f"{amount} USD is more than the ledger can hold ({usd(MOST_NANO)})")
    return int(nano)


def usd(nano: int) -> str:
    """Write nano-dollars as a decimal string in US dollars: exact, at least two places, no exponent."""
    if nano < 0:
        return "-" + usd(-nano)
    whole, fraction = divmod(nano, NANO_PER_USD)
    return f"{whole}.{f'{fraction:09d}'.rstrip('0').ljust(2, '0')}"


def round_half_even(numerator: int, denominator: int) -> int:
    """``numerator / denominator`` as the nearest integer, ties to even. The denominator is positive."""
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    if twice > denominator or (twice == denominator and quotient & 1):
        return quotient + 1
    return quotient
