"""Running a learner's function so that nothing it does can hurt: not the notebook, not the course, not their patience.

It is stopped when its time is up or the stop button is pressed, its prints are caught, and the global states that a
function may turn (random numbers, gradients, default dtype and device, autocast) are as before afterwards.
"""

import builtins
import ctypes
import io
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from types import FrameType
from typing import Any, TextIO

import numpy as np
import torch

CPU = torch.device("cpu")
REPEAT_ALARM = 0.25  # seconds: a bare `except:` in the learner's loop swallows one alarm, so it rings again
HURRIED_ALARM = 0.001
PATIENCE = 2.0  # seconds that a thread gets to notice that it was stopped
KEPT_CHARACTERS = 20_000


class TimeIsUp(BaseException):  # no Exception, or `except Exception:` in a learner's loop would keep it
    """Raised inside a learner's function when it has run for too long."""


class Stopped(TimeIsUp):
    """Raised inside a learner's function when somebody presses the stop button."""


class NotHere(RuntimeError):
    """Raised when a function asks the keyboard while it is being checked."""


@dataclass(frozen=True)
class Run:
    """What came of one call.

    Args:
        result: what the function returned; None if it did not get that far.
        error: what it raised instead.
        printed: everything it wrote to the screen.
        still_running: it could not be stopped, and goes on in a thread of its own.
    """

    result: Any = None
    error: BaseException | None = None
    printed: str = ""
    still_running: bool = False

    @property
    def stopped(self) -> bool:
        """Whether somebody stopped it: the stop button, or a `KeyboardInterrupt` of its own."""
        return isinstance(self.error, Stopped | KeyboardInterrupt)

    @property
    def out_of_time(self) -> bool:
        """Whether it ran for too long."""
        return isinstance(self.error, TimeIsUp) and not self.stopped


class Clock:
    """How much of the time for one check is left. It runs from the moment it is made."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left, never below a hundredth, so that even the last call is begun and then stopped."""
        return max(0.01, self._end - time.monotonic())

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self._end


def run(function: Callable, arguments: tuple, seconds: float, seed: int) -> Run:
    """Calls `function(*arguments)`; returns what came of it and never raises.

    Args:
        function: the learner's.
        arguments: given as they are; make copies first.
        seconds: how long it may take. A single call into PyTorch or NumPy cannot be interrupted before it ends.
        seed: of the random numbers of torch (CPU), NumPy and Python while it runs.
    """
    screen = _Screen()
    with global_states_kept(seed), _keyboard_away(), warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = screen.warn
        with redirect_stdout(screen), redirect_stderr(screen):
            on_main_thread = threading.current_thread() is threading.main_thread()
            call = _call_with_alarm if hasattr(signal, "setitimer") and on_main_thread else _call_in_thread
            return call(function, arguments, seconds, screen)


class _Screen(io.StringIO):
    """Keeps the first characters printed to it and lets the rest go: an endless loop prints a lot."""

    def warn(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        """What Python calls to show a warning: here its kind and its text alone."""
        self.write(f"{category.__name__}: {message}\n")

    def write(self, text: str) -> int:
        if self.tell() < KEPT_CHARACTERS:
            super().write(text[:KEPT_CHARACTERS])
        return len(text)

    def close(self) -> None:
        """Stays open: a learner's `sys.stdout.close()` means no harm."""


def _enter(function: Callable, arguments: tuple) -> Any:
    # A frame of its own: the alarm rings only while this function is being executed.
    return function(*arguments)


def _call_with_alarm(function: Callable, arguments: tuple, seconds: float, screen: _Screen) -> Run:
    """On the main thread of Linux and macOS: the system's timer interrupts even `while True: pass`."""
    rings: list[type[TimeIsUp]] = []

    def ring(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and Stopped not in rings:
            rings.append(Stopped)
            signal.setitimer(signal.ITIMER_REAL, REPEAT_ALARM, REPEAT_ALARM)
        why = Stopped if Stopped in rings else TimeIsUp
        if _inside(frame):
            if rings.count(why) > 1:
                _insist(frame, why)
            if rings.count(why) == 4:  # several of them, one around the other: sooner or later it rings between two
                signal.setitimer(signal.ITIMER_REAL, HURRIED_ALARM, HURRIED_ALARM)
            rings.append(why)
            raise why

    began, tracer_before = time.monotonic(), sys.gettrace()
    before = {number: signal.signal(number, ring) for number in (signal.SIGALRM, signal.SIGINT)}
    left_before, repeat_before = signal.setitimer(signal.ITIMER_REAL, seconds, REPEAT_ALARM)
    try:
        result = _enter(function, arguments)
        return Run(error=Stopped()) if Stopped in rings else Run(result, printed=screen.getvalue())
    except BaseException as error:  # also SystemExit, KeyboardInterrupt, TimeIsUp
        sys.settrace(tracer_before)  # or what `_insist` has set would raise once more in the next line's call
        return Run(error=error, printed=screen.getvalue())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.settrace(tracer_before)
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if left_before:  # someone else's alarm was set: it rings when it would have
            signal.setitimer(signal.ITIMER_REAL, max(0.01, left_before - (time.monotonic() - began)), repeat_before)


def _inside(frame: FrameType | None) -> bool:
    """Whether the learner's function is being executed."""
    while frame is not None:
        if frame.f_code is _enter.__code__:
            return True
        frame = frame.f_back
    return False


def _insist(frame: FrameType | None, why: type[TimeIsUp]) -> None:
    """Makes an `except:` that catches the alarm raise it once more, from its first line, out of its `try`."""

    def again(frame: FrameType, event: str, argument: Any) -> Callable:
        if isinstance(sys.exc_info()[1], why):
            raise why
        return again

    while frame is not None and frame.f_code is not _enter.__code__:
        frame.f_trace = again
        frame = frame.f_back
    sys.settrace(again)


def _call_in_thread(function: Callable, arguments: tuple, seconds: float, screen: _Screen) -> Run:
    """Everywhere else: a thread of its own, in which Python is asked to raise `TimeIsUp`."""
    runs: list[Run] = []

    def work() -> None:
        try:
            with _plain_modes():  # they belong to a thread
                runs.append(Run(_enter(function, arguments), printed=screen.getvalue()))
        except BaseException as error:
            runs.append(Run(error=error, printed=screen.getvalue()))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        thread.join(seconds)
    except KeyboardInterrupt:  # the learner pressed stop
        _raise_in(thread)
        return Run(error=Stopped(), printed=screen.getvalue())
    end = time.monotonic() + PATIENCE
    while thread.is_alive() and time.monotonic() < end:
        _raise_in(thread)
        thread.join(REPEAT_ALARM)
    return runs[0] if runs else Run(error=TimeIsUp(), printed=screen.getvalue(), still_running=thread.is_alive())


def _raise_in(thread: threading.Thread) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(TimeIsUp))


@contextmanager
def global_states_kept(seed: int) -> Iterator[None]:
    """Fixed random numbers, float32, the CPU, and gradients on inside; afterwards everything is as it was before."""
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    dtype = torch.get_default_dtype()
    try:
        random.seed(seed)
        np.random.seed(seed)
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would turn the GPUs' generators as well
        torch.set_default_dtype(torch.float32)
        with _plain_modes():  # puts back what was, whatever the function switches inside
            yield
    finally:
        torch.set_default_dtype(dtype)
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if gpus is not None:
            torch.cuda.set_rng_state_all(gpus)


@contextmanager
def _plain_modes() -> Iterator[None]:
    """Gradients on, tensors on the CPU; no inference mode, no autocast."""
    before = torch.get_default_device()
    on_cpu = nullcontext() if before == CPU else CPU
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", enabled=False), on_cpu:
        try:
            yield
        finally:
            if before == CPU != torch.get_default_device():  # the function has set another one
                torch.set_default_device(None)


@contextmanager
def _keyboard_away() -> Iterator[None]:
    """While a function is checked nobody sits at `input()` or at a debugger: both would wait for ever."""

    def refuse(*_: Any, **__: Any) -> None:
        raise NotHere("input() and breakpoint() do not work inside a check; call your function in a cell of its own")

    before = builtins.input, sys.breakpointhook
    builtins.input, sys.breakpointhook = refuse, refuse  # type: ignore[assignment]
    try:
        yield
    finally:
        builtins.input, sys.breakpointhook = before
