"""Copying, comparing and describing whatever goes into a learner's function and comes out of it."""

import copy
import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

SHOWN_ELEMENTS = 12  # a tensor up to this size is shown number by number
SHOWN_CHARACTERS = 300


def copy_of(value: Any) -> Any:
    """A copy that shares no memory with `value`; `requires_grad` of tensors is kept, their history is not."""
    if isinstance(value, Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if isinstance(value, torch.Generator):
        return torch.Generator(value.device).set_state(value.get_state())
    if isinstance(value, Mapping):
        return {key: copy_of(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(copy_of(item) for item in value)
    return copy.deepcopy(value)


def unchanged(value: Any, original: Any) -> bool:
    """Whether `value`, after a function had it, still equals `original`. What cannot be compared counts as equal."""
    if isinstance(original, Tensor):
        return value.shape == original.shape and value.dtype == original.dtype and _identical(value, original)
    if isinstance(original, np.ndarray):
        return value.shape == original.shape and np.array_equal(value, original, equal_nan=original.dtype.kind == "f")
    if isinstance(original, nn.Module):
        parts, before = ([(name, type(part)) for name, part in module.named_modules()] for module in (value, original))
        return parts == before and unchanged(value.state_dict(), original.state_dict())
    if isinstance(original, Mapping):
        return list(value) == list(original) and all(unchanged(value[key], original[key]) for key in original)
    if isinstance(original, list | tuple):
        return len(value) == len(original) and all(map(unchanged, value, original))
    if isinstance(original, str | numbers.Number):
        return value == original or (value != value and original != original)
    if is_dataclass(original) and not isinstance(original, type):
        return all(unchanged(getattr(value, f.name), getattr(original, f.name)) for f in fields(original))
    return True


def _identical(value: Tensor, original: Tensor) -> bool:
    return torch.allclose(value, original, rtol=0, atol=0, equal_nan=original.is_floating_point())


@dataclass(frozen=True)
class Difference:
    """The first place where two values disagree.

    Args:
        kind: "type", "length", "keys", "shape", "dtype" or "values".
        path: where, inside a tuple or dict: "", "[1]", "['boxes']".
        got, expected: the two things found there.
    """

    kind: str
    path: str
    got: Any
    expected: Any


def compare(got: Any, expected: Any, rtol: float, atol: float, path: str = "") -> Difference | None:
    """The first difference between `got` and `expected`, or None if they agree.

    A list may stand for a tuple and a NumPy number for a Python one; a tensor for a number may not. NaN equals NaN.
    Numbers agree if |got - expected| <= atol + rtol * |expected|; integers and booleans must agree exactly.
    """
    if isinstance(expected, Tensor | np.ndarray):
        return _compare_arrays(got, expected, rtol, atol, path)
    if isinstance(expected, Mapping):
        if not isinstance(got, Mapping):
            return Difference("type", path, got, expected)
        if set(got) != set(expected):
            return Difference("keys", path, got, expected)
        found = (compare(got[key], expected[key], rtol, atol, f"{path}[{key!r}]") for key in expected)
        return next((difference for difference in found if difference), None)
    if isinstance(expected, list | tuple):
        if not isinstance(got, list | tuple):
            return Difference("type", path, got, expected)
        if len(got) != len(expected):
            return Difference("length", path, got, expected)
        found = (compare(*pair, rtol, atol, f"{path}[{i}]") for i, pair in enumerate(zip(got, expected, strict=True)))
        return next((difference for difference in found if difference), None)
    if isinstance(expected, bool | np.bool_) or expected is None or isinstance(expected, str):
        fits = bool | np.bool_ if isinstance(expected, bool | np.bool_) else type(expected)
        if not isinstance(got, fits):
            return Difference("type", path, got, expected)
        return None if got == expected else Difference("values", path, got, expected)
    if isinstance(expected, numbers.Number):
        return _compare_numbers(got, expected, rtol, atol, path)
    raise ValueError(
        f"expected{path} is a {type(expected).__name__}; expected something that can be compared: a tensor, an array, "
        "a number, a string, None, or a tuple, list or dict of these"
    )


def _compare_numbers(got: Any, expected: Any, rtol: float, atol: float, path: str) -> Difference | None:
    wanted = numbers.Integral if isinstance(expected, numbers.Integral) else numbers.Number
    if not isinstance(got, wanted) or isinstance(got, bool | np.bool_):
        return Difference("type", path, got, expected)
    if got == expected or (got != got and expected != expected):
        return None
    close = wanted is numbers.Number and abs(got - expected) <= atol + rtol * abs(expected)
    return None if close else Difference("values", path, got, expected)


def _compare_arrays(got: Any, expected: Any, rtol: float, atol: float, path: str) -> Difference | None:
    if not isinstance(got, Tensor if isinstance(expected, Tensor) else np.ndarray) or not _is_plain(got):
        return Difference("type", path, got, expected)
    if tuple(got.shape) != tuple(expected.shape):
        return Difference("shape", path, got, expected)
    if got.dtype != expected.dtype:
        return Difference("dtype", path, got, expected)
    return Difference("values", path, got, expected) if differing(got, expected, rtol, atol).any() else None


def _is_plain(value: Tensor | np.ndarray) -> bool:
    """Whether all the numbers lie there to be read: not so in sparse, quantised and meta tensors."""
    return not isinstance(value, Tensor) or (
        value.layout is torch.strided and not (value.is_quantized or value.is_meta or value.is_nested)
    )


def as_tensor(value: Any) -> Tensor:
    """A tensor on the CPU without history, from a tensor, an array or a number."""
    return value.detach().cpu() if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value))


def differing(got: Any, expected: Any, rtol: float, atol: float) -> Tensor:
    """Boolean tensor: where two tensors, arrays or numbers of one shape disagree."""
    got, expected = as_tensor(got), as_tensor(expected)
    if not (got.is_floating_point() or got.is_complex()):
        return got != expected
    return ~torch.isclose(got, expected.to(got.dtype), rtol=rtol, atol=atol, equal_nan=True)


def describe(value: Any) -> str:
    """One line for a beginner: "tensor of shape (2, 3), float32, values from 0 to 1", or the value itself if small."""
    try:
        return _describe(value)
    except Exception:  # a list inside itself, a number of 5,000 digits, an object that cannot print itself
        return with_article(kind_of(value))


def _describe(value: Any) -> str:
    if isinstance(value, Tensor | np.ndarray):
        return _describe_array(value)
    if isinstance(value, float | np.floating):
        text = number(float(value))
        return f"{text}.0" if text.lstrip("-").isdigit() else text
    if isinstance(value, np.generic):
        return repr(value.item())
    if isinstance(value, torch.Size):
        return f"torch.Size {tuple(value)}"
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        opening, closing = "[]" if isinstance(value, list) else "()"
        inside = ", ".join(_describe(item) for item in value[:SHOWN_ELEMENTS])
        more = f", ... {len(value)} in all" if len(value) > SHOWN_ELEMENTS else ""
        return shorten(f"{opening}{inside}{more}{',' if len(value) == 1 and closing == ')' else ''}{closing}")
    if isinstance(value, tuple) and hasattr(value, "_fields"):  # a NamedTuple
        inside = ", ".join(f"{name}={_describe(item)}" for name, item in zip(value._fields, value, strict=True))
        return shorten(f"{type(value).__name__}({inside})")
    if type(value) is dict:
        return shorten("{" + ", ".join(f"{key!r}: {_describe(item)}" for key, item in value.items()) + "}")
    if isinstance(value, str | bool | int) or value is None:
        return shorten(repr(value))
    if isinstance(value, nn.Module):
        return shorten(" ".join(repr(value).split()))
    if callable(value):
        return f"the function {getattr(value, '__name__', '')}".strip()
    return with_article(kind_of(value))


def _describe_array(value: Tensor | np.ndarray) -> str:
    kind = "tensor" if isinstance(value, Tensor) else "array"
    dtype = str(value.dtype).removeprefix("torch.")
    shape = "(" + ", ".join(map(str, value.shape)) + ("," if len(value.shape) == 1 else "") + ")"
    if not _is_plain(value):
        assert isinstance(value, Tensor)  # the numbers of an array always lie there
        return f"{kind_of(value)} of shape {shape}" if value.layout is torch.strided else f"{kind_of(value)}, {dtype}"
    what = f"{kind} of shape {shape}, {dtype}"
    if math.prod(value.shape) == 0:
        return f"{what}, empty"
    if dtype.startswith(("complex", "object", "str", "<U")):
        return what
    values = as_tensor(value)
    if values.numel() <= SHOWN_ELEMENTS:
        return f"{what}: {nested(values.tolist())}"
    if values.is_floating_point() and not values.isfinite().all():
        return f"{what}, with {int((~values.isfinite()).sum())} of {values.numel()} values NaN or infinite"
    return f"{what}, values from {number(values.min().item())} to {number(values.max().item())}"


def nested(values: Any) -> str:
    """Nested lists of numbers as text, each number short."""
    if isinstance(values, list):
        return "[" + ", ".join(map(nested, values)) + "]"
    return number(values)


def number(value: float | int | bool) -> str:
    """A number with four significant digits; integers and booleans as they are."""
    return f"{value:.4g}" if isinstance(value, float) else repr(value)


def kind_of(value: Any) -> str:
    """What a beginner calls the type of this: "tensor", "NumPy array", "tuple", "int", "Conv2d"."""
    if value is None:
        return "None"
    if isinstance(value, Tensor) and type(value) in (Tensor, nn.Parameter):
        return "tensor" if _is_plain(value) else "special tensor (sparse, quantised, nested or meta)"
    return "NumPy array" if isinstance(value, np.ndarray) else type(value).__name__


def with_article(noun: str) -> str:
    """ "a tensor", "an int", and "None" as it is."""
    return noun if noun == "None" else f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def shorten(text: str) -> str:
    """At most `SHOWN_CHARACTERS` characters, with dots at the end if some were cut."""
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 4] + " ..."


def in_single_precision(result: Any, *arguments: Any) -> Any:
    """What a learner returned, with float32 for float64, also in a tuple: who computed more exactly is right, too."""
    if isinstance(result, Tensor) and result.dtype == torch.float64:
        return result.float()
    return type(result)(map(in_single_precision, result)) if type(result) in (list, tuple) else result


def agrees(got: Tensor, expected: Tensor) -> bool:
    """Whether the numbers are equal as far as single precision goes, NaN included: for what a mistake gives."""
    return torch.allclose(got, expected, rtol=1e-3, atol=1e-5, equal_nan=True)
