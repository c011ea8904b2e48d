"""Is an argument of the kind that it should be? What functions of all files ask before they begin."""

from numbers import Integral

from torch import Tensor


def check_whole(name: str, value: int, at_least: int) -> None:
    """Raise ValueError, naming the argument, unless it is a whole number, Python's or NumPy's, of at least that."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < at_least:
        raise ValueError(f"{name} is {value!r}; expected a whole number of at least {at_least}")


def check_tensor(name: str, value: object, expected: str) -> None:
    """Raise ValueError, naming the argument, unless it is a tensor; `expected` says of which shape, as "(N, 4)"."""
    if not isinstance(value, Tensor):
        raise ValueError(f"{name} is a {type(value).__name__}; expected a tensor {expected}")
