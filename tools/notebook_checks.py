"""What must be true of an executed notebook. The builder asks before it writes, the lanes ask of what is stored."""

import html
import io
import json
import keyword
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from lesson_source import Cell, Lesson, check_after
from nbformat import NotebookNode

LARGEST = 4_000_000  # bytes of one notebook; 3 MB is what we aim for
OUTCOMES = ("correct", "wrong", "not attempted", "crashed")
OUTCOME = {True: "correct", False: "not attempted"}  # by: is it the solved notebook?


def problems(lesson: Lesson, notebook: NotebookNode, solved: bool, root: Path) -> Iterator[tuple[int, str]]:
    """All that is wrong with a notebook of this lesson, each as (line in the lesson's source, what).

    The notebook's cells must be the lesson's cells, one to one.
    """
    which = "solved" if solved else "learner's"
    count = 0
    for cell, node in zip(lesson.cells_of(solved), notebook.cells, strict=True):
        for what in _machine_paths(node, root):
            yield cell.line, f"the {which} notebook shows a path of this machine: {what}"
        if node.cell_type != "code":
            continue
        count += 1
        if node.execution_count != count:
            yield cell.line, f"the {which} notebook holds a cell that was not executed, or not in order"
        if "raises-exception" not in cell.tags:
            for output in node.outputs:
                if output.output_type == "error":
                    yield cell.line, f"the {which} cell raised {output.ename}: {output.evalue}"
        for output in node.outputs:
            if output.output_type == "stream" and output.name == "stderr":
                yield cell.line, f"the {which} cell wrote to stderr: {output.text.strip()[:200]}"
    for cell, node in checks(lesson, notebook, solved):
        found = outcome(node)
        if found != OUTCOME[solved]:
            yield cell.line, f"in the {which} notebook this check says {found!r}, not {OUTCOME[solved]!r}"
    if not solved:
        yield from leaks(lesson, notebook, solved)
    size = len(json.dumps(notebook, ensure_ascii=False).encode())
    if size > LARGEST:
        yield 1, f"the {which} notebook takes {size / 1e6:.1f} MB; the limit is {LARGEST / 1e6:.0f} MB"


def checks(lesson: Lesson, notebook: NotebookNode, solved: bool) -> list[tuple[Cell, NotebookNode]]:
    """The `check(it)` cells of a lesson: (cell of the source, cell of the notebook)."""
    cells = lesson.cells_of(solved)
    pairs = list(zip(cells, notebook.cells, strict=True))
    return [pairs[check_after(cells, index)] for index, cell in enumerate(cells) if cell.exercise]


def outcome(node: NotebookNode) -> str | None:
    """The outcome that a check's cell shows: the one of the four that its text names first, or None."""
    text = visible_text(node, sources=False).lower()
    found = re.search(r"\b(" + "|".join(OUTCOMES) + r")\b", text)
    return found[1] if found else None


def visible_text(node: NotebookNode, sources: bool = True) -> str:
    """All text that a reader of this cell can see, HTML tags taken off; pictures left out."""
    texts = [node.source] if sources else []
    for output in node.get("outputs", ()):
        if output.output_type == "stream":
            texts.append(output.text)
        elif output.output_type == "error":
            texts.append(f"{output.ename}: {output.evalue}")
        else:
            texts += [
                _without_tags(text) if kind == "text/html" else text
                for kind, text in sorted(output.data.items(), reverse=True)
                if kind.startswith("text/")
            ]
    return "\n".join(texts)


def leaks(lesson: Lesson, notebook: NotebookNode, solved: bool = False) -> Iterator[tuple[int, str]]:
    """Lines of solutions that a notebook shows, in a source or an output; the learner's must show none.

    A line counts if it says enough to be an answer: six names and numbers or more. A shorter one (`return scores`) may
    stand anywhere; but a solution that is short as a whole must not appear as a whole. Spaces and comments
    do not matter.
    """
    pairs = zip(lesson.cells_of(solved), notebook.cells, strict=True)
    places = [(cell, _squeezed(_without_tags(visible_text(node)))) for cell, node in pairs]
    for solution in lesson.solutions:
        lines = [_code_of(line) for line in solution]
        telling = [line for line in lines if _words(line) >= 6]
        if sum(map(_words, lines)) >= 3:
            telling.append("\n".join(lines))
        for text in telling:
            pattern = re.compile(r"(?<!\w)" + re.escape(_squeezed(text)) + r"(?!\w)")
            for cell, place in places:
                if pattern.search(place):
                    yield cell.line, f"a solution leaks into the learner's notebook: {' '.join(text.split())[:120]!r}"
                    break
            else:
                continue
            break  # one complaint for one solution


def _without_tags(text: str) -> str:
    return html.unescape(re.sub(r"<(?:[a-zA-Z/!][^<>]*)>", "", text))


def _code_of(line: str) -> str:
    """A line without its comment; a '#' inside a string is not one."""
    try:
        for token in tokenize.generate_tokens(io.StringIO(line.strip()).readline):
            if token.type == tokenize.COMMENT:
                return line.strip()[: token.start[1]].rstrip()
    except (tokenize.TokenError, IndentationError, SyntaxError):
        pass  # one line of a longer statement
    return line.strip()


def _words(line: str) -> int:
    """How many names and numbers a line of code holds, Python's own words left out."""
    return sum(not keyword.iskeyword(word) for word in re.findall(r"\w+", line))


def _squeezed(text: str) -> str:
    """A text without spaces, but for those that part two words."""
    text = re.sub(r"#[^\n]*", "", text)
    text = re.sub(r"\s+", " ", text)
    return re.sub(r"(?<!\w) | (?!\w)", "", text)


def _machine_paths(node: NotebookNode, root: Path) -> Iterator[str]:
    text = visible_text(node)
    for folder in {str(root), str(Path.home())} - {"/"}:
        found = re.search(re.escape(folder) + r"(?=[/\\])[^\s'\"]*", text)
        if found:
            yield found[0]
