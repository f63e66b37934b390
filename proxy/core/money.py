"""Money: an ``int`` of nano-dollars (1e-9 USD) everywhere inside, ``Decimal`` only at the border."""

from decimal import Decimal, InvalidOperation

NANO_PER_USD = 1_000_000_000


def nano_from_usd(amount: str | float | Decimal) -> int:
    """Read an amount in US dollars as nano-dollars, exactly.

    A float is read as it is written (``0.1`` is ten cents), because YAML and JSON give floats.
    Raises ValueError for what is no finite number, or finer than a nano-dollar.
    """
    try:
        value = Decimal(str(amount))
    except InvalidOperation:
        raise ValueError(f"{amount!r} is not an amount of money") from None
    if not value.is_finite():
        raise ValueError(f"{amount!r} is not an amount of money")
    nano = value * NANO_PER_USD
    if nano != nano.to_integral_value():
        raise ValueError(f"{amount} USD is finer than a nano-dollar (9 decimal places)")
    return int(nano)


def usd(nano: int) -> str:
    """Write nano-dollars as a decimal string in US dollars: exact, at least two places, no exponent."""
    sign = "-" if nano < 0 else ""
    whole, fraction = divmod(abs(nano), NANO_PER_USD)
    digits = f"{fraction:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{digits}"


def round_half_even(numerator: int, denominator: int) -> int:
    """``numerator / denominator`` as the nearest integer, ties to even. The denominator is positive."""
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    if twice > denominator or (twice == denominator and quotient & 1):
        return quotient + 1
    return quotient
