"""Whatever a function does, it ends soon, and everything is as before afterwards."""

import contextlib
import os
import signal
import sys
import threading
import time

import pytest
import torch

from lib.exercises.engine.judge import judge
from lib.exercises.engine.outcome import Status
from lib.exercises.engine.sandbox import run

ON_MAIN_THREAD = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timer")


def catches_everything():
    n = 0
    while True:
        try:
            n = sum(range(1000))
        except:  # noqa: E722
            n = -n


def sleeps_and_catches():
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(1)


def one_inside_the_other():
    while True:
        try:
            while True:
                try:
                    time.time()
                except BaseException:
                    continue
        except BaseException:
            pass


def keeps_the_exception():
    kept = []
    while True:
        try:
            kept.append(len(kept))
        except BaseException as error:
            kept = [error]


def gives_up_at_the_third_alarm():
    for _ in range(2):
        try:
            while True:
                pass
        except BaseException:
            pass
    while True:
        pass


LOOPS = [catches_everything, sleeps_and_catches, one_inside_the_other, keeps_the_exception, gives_up_at_the_third_alarm]


@ON_MAIN_THREAD
@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
def test_a_loop_that_catches_everything_ends_as_too_long(loop):
    began = time.thread_time()  # this thread's alone: what an earlier test left running is no part of it
    outcome = run(loop, (), 0.3, 0)
    assert outcome.out_of_time and not outcome.still_running
    assert time.thread_time() - began < 4 and sys.gettrace() is None


@ON_MAIN_THREAD
@pytest.mark.parametrize("loop", [catches_everything, lambda: time.sleep(60)], ids=["catches", "sleeps"])
def test_the_stop_button_is_obeyed_at_once(loop):
    threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    outcome = run(loop, (), 30, 0)
    assert outcome.stopped and not outcome.out_of_time
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@ON_MAIN_THREAD
def test_after_the_stop_button_no_other_input_is_tried(exercise, cell):
    calls = []

    def scaled(image, factor):
        calls.append(1)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    outcome = judge(exercise, scaled)
    assert (outcome.status, outcome.mistake, len(calls)) == (Status.CRASHED, "stopped", 1)


def right(image, factor):
    return image * factor


def in_inference_mode(exercise):
    with torch.inference_mode():
        return judge(exercise, right)


def in_autocast(exercise):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return judge(exercise, right)


def with_another_device(exercise):
    with torch.device("meta"):
        return judge(exercise, right)


def with_another_default_device(exercise):
    torch.set_default_device("meta")
    try:
        return judge(exercise, right)
    finally:
        assert torch.get_default_device() == torch.device("meta")
        torch.set_default_device(None)


def with_another_dtype(exercise):
    torch.set_default_dtype(torch.float64)
    try:
        return judge(exercise, right)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    "way", [in_inference_mode, in_autocast, with_another_device, with_another_default_device, with_another_dtype]
)
def test_a_right_answer_is_right_under_any_settings(exercise, way):
    assert way(exercise).status is Status.CORRECT, way(exercise)


def test_settings_made_inside_are_put_back(exercise):
    def scaled(image, factor):
        torch.set_default_device("meta")
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        return image * factor

    judge(exercise, scaled)
    assert torch.get_default_device() == torch.device("cpu") and torch.get_default_dtype() is torch.float32
    assert torch.is_grad_enabled() and torch.zeros(1).device.type == "cpu"


def closes_the_screen(image, factor):
    sys.stdout.close()
    return image


def contains_itself(image, factor):
    loop = []
    loop.append(loop)
    return loop


class Broken(Exception):
    def __str__(self):
        raise KeyboardInterrupt


def raises_broken(image, factor):
    raise Broken


@pytest.mark.parametrize(
    "odd",
    [
        closes_the_screen,
        contains_itself,
        raises_broken,
        lambda image, factor: 10**5000,
        lambda image, factor: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        lambda image, factor: type("Odd", (), {"__repr__": lambda self: 1 / 0, "shape": 3})(),
    ],
)
def test_whatever_comes_back_is_told(exercise, odd):
    stdout = sys.stdout
    outcome = judge(exercise, odd)
    assert outcome.status in (Status.WRONG, Status.CRASHED) and repr(outcome) and outcome._repr_html_()
    assert sys.stdout is stdout
