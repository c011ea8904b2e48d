from html.parser import HTMLParser

import pytest

from lib.exercises.engine.outcome import Comparison, Outcome, marked_up


class _Balance(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.text = [], ""

    def handle_starttag(self, tag, attributes):
        if tag not in ("img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def full():
    return Outcome(
        status="wrong", exercise="area", explanation="You used `<b>` & more.", mistake="a <mistake>",
        line="line 1:  a < b",
        case="1 < 2", inputs=(("image", "tensor <1>"),), table=(Comparison("at [0]", "<3>", "4"),),
        printed="<script>alert(1)</script>\n" * 20, picture=b"PNG", notice="notice & all",
    )  # fmt: skip


def test_html_is_well_formed_and_escaped(full):
    page = _Balance()
    page.feed(full._repr_html_())
    assert page.open == []
    for part in (
        "wrong",
        "a <mistake>",
        "line 1:  a < b",
        "tensor <1>",
        "<3>",
        "<script>alert(1)</script>",
        "... and more",
    ):
        assert part in page.text
    assert "<script>" not in full._repr_html_()


def test_text_says_everything(full):
    text = repr(full)
    assert text.startswith("✗ area: wrong (a <mistake>)\nYou used <b> & more.\n")
    for part in ("line 1:  a < b", "First input that fails: 1 < 2", "image = tensor <1>", "yours:    <3>"):
        assert part in text
    for part in ("expected: 4", "... and more", "notice & all"):
        assert part in text
    assert text.count("alert") == 10


@pytest.mark.parametrize("status", ["correct", "wrong", "not attempted", "crashed"])
def test_each_status_has_a_word_and_a_sign(status):
    outcome = Outcome(status=status, exercise="area", explanation="")
    assert status in repr(outcome) and status in outcome._repr_html_()
    assert repr(outcome)[0] in "✓✗○⚠" and outcome.mistake is None and outcome.message == ""


def test_marked_up():
    assert marked_up("a `b<c` d\ne") == "a <code>b&lt;c</code> d<br>e"
