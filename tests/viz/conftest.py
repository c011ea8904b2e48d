"""What the tests of all pictures share."""

import matplotlib.pyplot as plt
import pytest


@pytest.fixture(autouse=True)
def closed_figures():
    """No figure stays open after its test."""
    yield
    plt.close("all")
