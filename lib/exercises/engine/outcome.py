"""What `check` answers: an `Outcome`, which shows itself in a notebook and in plain text."""

import base64
import html
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Status(StrEnum):
    """The four verdicts."""

    CORRECT = "correct"
    WRONG = "wrong"
    NOT_ATTEMPTED = "not attempted"
    CRASHED = "crashed"


class Diagnosis(NamedTuple):
    """A mistake that was recognised: its short name, and an explanation for a beginner."""

    name: str
    explanation: str


_LOOKS = {
    # icon, colour of JupyterLab's theme, the same for other notebooks
    Status.CORRECT: ("✓", "--jp-success-color1", "#2e7d32"),
    Status.WRONG: ("✗", "--jp-error-color1", "#c62828"),
    Status.NOT_ATTEMPTED: ("○", "--jp-info-color1", "#0277bd"),
    Status.CRASHED: ("⚠", "--jp-warn-color1", "#b26a00"),
}
PRINTED_LINES = 10
PRINTED_CHARACTERS = 1000

_BOX = (
    "border-left:4px solid {colour};padding:6px 12px;margin:4px 0;max-width:60em;line-height:1.45;"
    "background:var(--jp-layout-color2,rgba(127,127,127,.08));color:var(--jp-content-font-color1,inherit)"
)
_INHERIT = "border:0;color:inherit;font:inherit"
_CELL = "text-align:left;padding:2px 12px 2px 0;vertical-align:top;border:0"
_PRE = (
    "margin:2px 0;padding:4px 8px;white-space:pre-wrap;color:inherit;"
    "background:var(--jp-layout-color1,rgba(127,127,127,.12))"
)


@dataclass(frozen=True)
class Comparison:
    """One row of the table that lays yours beside ours."""

    what: str
    yours: str
    expected: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The verdict on one function. As the last line of a cell it displays itself.

    Args:
        status: the verdict.
        exercise: the name of the exercise; "" if none could be found.
        explanation: what there is to say, sentence by sentence; `backticks` mark code.
        mistake: the name of the mistake, if one was recognised.
        line: the learner's own line where it crashed, or was when its time was up.
        case: what is special about the first input that fails.
        inputs: that input: names and descriptions of the arguments.
        table: got against expected.
        printed: what the function printed meanwhile.
        picture: yours against ours, as PNG.
        notice: something about the course itself: progress that could not be saved.
    """

    status: Status
    exercise: str
    explanation: str
    mistake: str | None = None
    line: str | None = None
    case: str | None = None
    inputs: tuple[tuple[str, str], ...] = ()
    table: tuple[Comparison, ...] = ()
    printed: str = ""
    picture: bytes | None = None
    notice: str = ""

    @property
    def message(self) -> str:
        """Everything below the headline, as plain text."""
        parts = [self.explanation.replace("`", "")]
        if self.line:
            parts.append(f"    {self.line}")
        if self.case is not None:
            width = max((len(name) for name, _ in self.inputs), default=0)
            lines = [f"    {name:<{width}} = {value}" for name, value in self.inputs]
            parts.append("\n".join([f"{self._first_input()}", *lines]))
        if self.table:
            width = max(len(row.what) for row in self.table)
            for row in self.table:
                parts.append(f"    {row.what:<{width}}  yours:    {row.yours}")
                parts.append(f"    {'':<{width}}  expected: {row.expected}")
        if self.printed:
            parts.append("Your function printed:\n" + "\n".join(f"    {line}" for line in _first_lines(self.printed)))
        if self.notice:
            parts.append(self.notice)
        return "\n".join(part for part in parts if part)

    def _first_input(self) -> str:
        return f"First input that fails: {self.case}"

    def _headline(self) -> str:
        name = f"{self.exercise}: " if self.exercise else ""
        return f"{name}{self.status}" + (f" ({self.mistake})" if self.mistake else "")

    def __repr__(self) -> str:
        return f"{_LOOKS[self.status][0]} {self._headline()}\n{self.message}".strip()

    def _repr_html_(self) -> str:
        icon, variable, colour = _LOOKS[self.status]
        colour = f"var({variable},{colour})"
        name = f"<code>{html.escape(self.exercise)}</code>: " if self.exercise else ""
        mistake = f" &mdash; {html.escape(self.mistake)}" if self.mistake else ""
        parts = [f'<div><strong><span style="color:{colour}">{icon}</span> {name}{self.status}{mistake}</strong></div>']
        if self.explanation:
            parts.append(f"<div>{marked_up(self.explanation)}</div>")
        if self.line:
            parts.append(f'<pre style="{_PRE}">{html.escape(self.line)}</pre>')
        if self.case is not None:
            parts.append(f'<div style="margin-top:6px">{html.escape(self._first_input())}</div>')
        if self.inputs:
            rows = "".join(
                f'<tr><th scope="row" style="{_CELL}"><code>{html.escape(name)}</code></th>'
                f'<td style="{_CELL}">{html.escape(value)}</td></tr>'
                for name, value in self.inputs
            )
            parts.append(f'<table style="margin:2px 0;{_INHERIT}"><tbody>{rows}</tbody></table>')
        if self.table:
            parts.append(_table(self.table))
        if self.picture:
            data = base64.b64encode(self.picture).decode()
            source = f"data:image/png;base64,{data}"
            parts.append(f'<img alt="yours beside the expected result" style="max-width:100%" src="{source}">')
        if self.printed:
            lines = html.escape("\n".join(_first_lines(self.printed)))
            parts.append(f'<div style="margin-top:6px">Your function printed:</div><pre style="{_PRE}">{lines}</pre>')
        if self.notice:
            parts.append(f'<div style="margin-top:6px"><em>{html.escape(self.notice)}</em></div>')
        return f'<div style="{_BOX.format(colour=colour)}">{"".join(parts)}</div>'


def _table(rows: tuple[Comparison, ...]) -> str:
    head = "".join(f'<th scope="col" style="{_CELL}">{title}</th>' for title in ("", "yours", "expected"))
    body = "".join(
        f'<tr><th scope="row" style="{_CELL};font-weight:normal">{html.escape(row.what)}</th>'
        f'<td style="{_CELL}">{html.escape(row.yours)}</td><td style="{_CELL}">{html.escape(row.expected)}</td></tr>'
        for row in rows
    )
    return f'<table style="margin:6px 0 2px;{_INHERIT}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def marked_up(text: str) -> str:
    """HTML of plain text in which `backticks` mark code and a line break is one."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text)).replace("\n", "<br>")


def _first_lines(printed: str) -> list[str]:
    cut = printed[:PRINTED_CHARACTERS].rstrip("\n")
    lines = cut.split("\n")
    more = len(printed) > PRINTED_CHARACTERS or len(lines) > PRINTED_LINES
    return lines[:PRINTED_LINES] + ["... and more"] * more
