"""Finding the line of the learner's code where an exception came from, and telling it without anybody else's lines."""

import dis
import inspect
import linecache
import os
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, TracebackType
from typing import Any

import torch

from lib.exercises.engine.values import describe

_OTHERS = tuple(
    f"{folder}{os.sep}"
    for folder in (
        Path(__file__).resolve().parents[2],  # this course's lib
        Path(torch.__file__).resolve().parents[1],  # site-packages
        *(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib")),
    )
)
MESSAGE_LINES = 6
MESSAGE_CHARACTERS = 500


@dataclass(frozen=True)
class Place:
    """A line of the learner's: in which function, the how-manieth line of it, and what it says."""

    function: str
    line: int
    source: str

    def __str__(self) -> str:
        where = f"line {self.line} of {self.function}"
        return f"{where}:  {self.source}" if self.source else where


def place_of(error: BaseException, function: Callable) -> Place | None:
    """The innermost line of the learner's code on the way to `error`; None if it never was in it.

    Theirs is what lies in the file or cell of `function`, and any other that is neither this course's nor a library's.
    """
    theirs = [step for step in _steps(error.__traceback__) if is_theirs(step[0], function)]
    if not theirs:
        return None
    code, line = theirs[-1]
    name = code.co_name if code.co_name != "<module>" else "the cell"
    line = line or code.co_firstlineno  # an alarm may ring between two lines
    return Place(name, line - code.co_firstlineno + 1, linecache.getline(code.co_filename, line).strip())


def raised_by_learner(error: BaseException, function: Callable) -> bool:
    """Whether a `raise` of the learner's own made it: no library did, nor an operation as `-` of two bool tensors."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None or not is_theirs(last.tb_frame.f_code, function):
        return False
    steps = dis.get_instructions(last.tb_frame.f_code)
    return any(step.offset == last.tb_lasti and "RAISE" in step.opname for step in steps)


def is_theirs(code: CodeType, function: Callable) -> bool:
    file = code.co_filename
    return file in source_files(function) or not file.startswith((*_OTHERS, "<frozen"))


def source_files(function: Callable) -> set[str]:
    """The files or cells in which a function, or the methods of a class, were written."""
    members = vars(function).values() if inspect.isclass(function) else [inspect.unwrap(function)]
    return {member.__code__.co_filename for member in members if hasattr(member, "__code__")}


def _steps(traceback: TracebackType | None) -> list[tuple[CodeType, int | None]]:
    steps: list[tuple[CodeType, int | None]] = []
    while traceback is not None:
        steps.append((traceback.tb_frame.f_code, traceback.tb_lineno))
        traceback = traceback.tb_next
    return steps


def message_of(error: BaseException | None) -> str:
    """The exception as Python would print it in its last line, cut if it is long; "" if there is none."""
    if error is None:
        return ""
    try:
        text = str(error)
    except BaseException:  # a learner's exception class may be broken, too
        text = ""
    lines = text.strip().splitlines()
    text = "\n".join(lines[:MESSAGE_LINES])
    if len(lines) > MESSAGE_LINES or len(text) > MESSAGE_CHARACTERS:
        text = text[:MESSAGE_CHARACTERS] + " ..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def describe_arguments(function: Callable, arguments: tuple[Any, ...]) -> list[tuple[str, str]]:
    """Name and description of each argument, the names from the signature of `function`."""
    try:
        names = list(inspect.signature(function).bind(*arguments).arguments)
    except (TypeError, ValueError):
        names = []
    names += [f"argument {i + 1}" for i in range(len(names), len(arguments))]
    return [(name, describe(value)) for name, value in zip(names, arguments, strict=False)]
