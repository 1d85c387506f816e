"""Numbers as a person reads them: as many digits as the interval supports, units where they help, a real minus sign."""

from __future__ import annotations

import math

MINUS = "\u2212"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | None, unit: str = "", *, signed: bool = False, decimals: int | None = None) -> str:
    """Three significant digits, or `decimals` places. Fractions with unit % are given as 0..1 and shown times 100."""
    if value is None or not math.isfinite(value):
        return "–" if value is None or math.isnan(value) else (MINUS if value < 0 else "") + "∞"
    shown = value * 100 if unit == "%" else value
    text = _magnitude(abs(shown), decimals)
    is_zero = not any(digit in "123456789" for digit in text)
    sign = "" if is_zero else MINUS if shown < 0 else "+" if signed else ""
    return f"{sign}{text}{_suffix(unit)}"


def interval(
    mean: float, low: float | None, high: float | None, unit: str = "", *, signed: bool = False
) -> tuple[str, str]:
    """Mean and "low to high", all with the digits that the interval's width supports: two of its half."""
    decimals = decimals_for(mean, low, high, unit)
    ends = [number(end, unit, signed=signed, decimals=decimals) for end in (low, high)]
    detail = "no interval from one unit" if low is None or high is None else f"{ends[0]} to {ends[1]}"
    return number(mean, unit, signed=signed, decimals=decimals), detail


def decimals_for(mean: float, low: float | None, high: float | None, unit: str) -> int | None:
    """Decimal places that show two significant digits of half the interval; None where there is no width."""
    if low is None or high is None or not math.isfinite(high - low) or high <= low:
        return None
    half = (high - low) / 2 * (100 if unit == "%" else 1)
    if half < 1e-5:  # too fine for fixed places
        return None
    return max(0, min(5, 1 - math.floor(math.log10(half))))


def pair(first: float, last: float, unit: str = "") -> tuple[str, str]:
    """Two values to be compared, with the same decimals: those of three digits of the larger."""
    size = max(abs(first), abs(last)) * (100 if unit == "%" else 1)
    decimals = max(0, 2 - math.floor(math.log10(size))) if 1e-2 <= size < 1000 else None
    return number(first, unit, decimals=decimals), number(last, unit, decimals=decimals)


def short(value: float | None) -> str:
    """Two decimals, or two significant digits where that would be nothing: the reward of one answer."""
    if value is None or not math.isfinite(value) or abs(value) >= 1e5:
        return number(value)
    size = abs(value)
    return number(value, decimals=2 if size >= 0.01 or size < 1e-5 else 1 - math.floor(math.log10(size)))


def p_value(p: float | None) -> str:
    """ "p = 0.031", or "p < 0.001"."""
    if p is None or not math.isfinite(p):
        return "p not known"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def duration(seconds: float | None) -> str:
    """ "42 s", "3 min 20 s", "29 min", "2 h 05 min"."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < 600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if seconds < 3570:
        return f"{round(seconds / 60)} min"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _magnitude(size: float, decimals: int | None) -> str:
    if decimals is not None:
        return f"{size:,.{decimals}f}"
    if size == 0:
        return "0"
    if size < 1e-3 or size >= 1e9:
        mantissa, exponent = f"{size:.2e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}×10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
    if size >= 1000:
        return f"{size:,.0f}"
    places = max(0, 2 - math.floor(math.log10(size)))
    return f"{size:.{places}f}"


def _suffix(unit: str) -> str:
    return "" if not unit else "%" if unit == "%" else f" {unit}"
