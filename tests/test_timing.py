import time

import pytest

from lib.timing import human_time, milliseconds


def test_the_shortest_run_counts():
    pauses = iter((0.05, 0.001, 0.05))
    assert 1 <= milliseconds(lambda: time.sleep(next(pauses)), repeats=3) < 40


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.00035, "0.35 ms"), (0.0042, "4.2 ms"), (0.25, "250 ms"), (1, "1.0 s"), (59.3, "59 s"), (1320, "22 minutes"),
        (7200, "2.0 hours"), (86_400 * 5, "5.0 days"), (51_854.11 * 3600, "5.9 years"), (0, "0 ms"),
    ],
)  # fmt: skip
def test_a_person_can_read_it(seconds, said):
    assert human_time(seconds) == said


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="repeats"):
        milliseconds(lambda: None, repeats=0)
    with pytest.raises(ValueError, match="seconds"):
        human_time(-1.0)
