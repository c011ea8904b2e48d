"""Comparing what a notebook printed then and now: the words exactly, the numbers nearly."""

import re

RELATIVE = 0.01  # two machines, or a processor and a GPU, may differ by this much in a number with decimals
_DECIMAL = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+(?:[eE][-+]?\d+)?|[eE][-+]?\d+)(?![\w.]*\d)")
_MEASURED = re.compile(r"≈\s*[-+]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?")


def near(now: str, then: str) -> bool:
    """Whether two printed texts say the same.

    Words, whole numbers and punctuation must be equal, the width of gaps aside. A number with decimals may differ by
    one unit of its last printed place or by 1 %, whichever is more. A number behind the sign ≈ was measured on this
    machine, a time or the score of a training: it must be there, and may be any number. The lesson asserts what it
    must obey.
    """
    now, then = (_MEASURED.sub("≈ #", text) for text in (now, then))
    if _skeleton(now) != _skeleton(then):
        return False
    return all(_close(a, b) for a, b in zip(_DECIMAL.findall(now), _DECIMAL.findall(then), strict=True))


def _skeleton(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"\s*" + _DECIMAL.pattern, " #", text)).strip()


def _close(a: str, b: str) -> bool:
    if not abs(float(a)) < float("inf") > abs(float(b)):
        return a == b
    tolerance = max(1.001 * max(_last_place(a), _last_place(b)), RELATIVE * max(abs(float(a)), abs(float(b))))
    return abs(float(a) - float(b)) <= tolerance


def _last_place(number: str) -> float:
    """The worth of a printed number's last digit: 0.01 for "3.14"."""
    digits, _, exponent = number.lower().partition("e")
    return 10.0 ** (int(exponent or 0) - len(digits.partition(".")[2]))


class NearText(str):
    """A text that equals another one if `near` says so: nbval compares with `!=`."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and near(str(self), str(other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__
