"""What is written in a figure, for the tests of drawings."""

from matplotlib.figure import Figure


def words(figure: Figure) -> str:
    """All texts inside its axes, one after the other; not titles and labels."""
    return " ".join(text.get_text() for axis in figure.axes for text in axis.texts)
