"""A lesson's one source, `solutions/NN_name.py`, read into cells; and the two notebooks it stands for, not yet run.

The source is jupytext's percent format. What a lesson must obey is checked here, and every complaint names a file and
a line: the first cell carries the title; a solution stands between `### BEGIN SOLUTION` and `### END SOLUTION` inside a
function; a cell tagged `exercise` defines one function or class, and the next two code cells are `check(it)` and
`it = use(it)`, with hints in `<details>` between them. Imports may stand above each of the three. The task above it is
headed by "### Exercise 1 · `it`" (the number may be left out) and, below, "*15 minutes · ★★☆*": minutes and stars stand
there alone. A line of prose holds at most 160 characters, so that a changed sentence is a changed line.
"""

import ast
import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

import jupytext
import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

BEGIN = "### BEGIN SOLUTION"
END = "### END SOLUTION"
YOUR_TURN = 'raise NotImplementedError("your turn")'
KERNEL = "course-cpu"

# What a cell may be tagged with. `exercise`: a stub in a cell of its own. `raises-exception`: the error is the point of
# the cell. `nbval-ignore-output`: for a widget that holds a figure, where nothing can be compared.
TAGS = frozenset({"exercise", "raises-exception", "nbval-ignore-output"})

LONGEST_LINE = 160  # characters of a line of prose; the row of a table and a line that is only a link may be longer
_TABLE_ROW = re.compile(r"\s*\|.*\|\s*")
_ONLY_A_LINK = re.compile(r"\s*(?:[-*] |> )?(?:!?\[[^\]]*\](?:\(\S+\)|: \S+)|<?https?://\S+>?)[.,;]?\s*")
_COST = re.compile(r"\*[1-9]\d* minutes? · (?:★☆☆|★★☆|★★★)\*")


class LessonError(Exception):
    """What is wrong with a lesson, at which line of its source. `str()` gives `path:line: message`."""

    def __init__(self, path: Path, line: int, message: str) -> None:
        super().__init__(f"{path}:{line}: {message}")


@dataclass(frozen=True)
class Cell:
    """One cell of a lesson: its text with the solution markers in it, and the line of the source it starts on."""

    kind: str  # "code" or "markdown"
    text: str
    line: int  # of the first line of its text, counted from 1
    tags: tuple[str, ...] = ()
    source_hidden: bool = False  # JupyterLab shows it folded
    outputs_hidden: bool = False  # JupyterLab shows its output folded: it answers a question that is asked first
    exercise: str | None = None  # the name that an exercise's stub defines

    def at(self, row: int) -> int:
        """The line in the source file of a row of this cell (1 is its first)."""
        return self.line + row - 1


# Running a solved notebook, with nbval, `jupyter execute` or by hand, must not mark a learner's exercises as solved;
# and the answers in it must be right themselves, without the course's own functions behind them.
SETTINGS = Cell(
    "code",
    """\
# This solved notebook leaves your own progress alone, and `use(...)` raises where an answer in it is not right.
import os
import tempfile

folder_of_this_run = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
os.environ["COURSE_PROGRESS"] = os.path.join(folder_of_this_run.name, "progress.json")
os.environ["COURSE_NO_FALLBACK"] = "1"
""".strip(),
    line=1,
    source_hidden=True,
)


@dataclass(frozen=True)
class Lesson:
    """A lesson as its source says it."""

    path: Path
    cells: list[Cell] = field(repr=False)
    solutions: list[list[str]] = field(repr=False)  # the lines of each solution, in order

    @property
    def name(self) -> str:
        """NN_name."""
        return self.path.stem

    def cells_of(self, solved: bool) -> list[Cell]:
        """The cells of one of its two notebooks: the solved one has its settings below the title."""
        return [self.cells[0], SETTINGS, *self.cells[1:]] if solved else self.cells

    def notebook(self, solved: bool) -> NotebookNode:
        """The notebook this lesson stands for, before it is run."""
        seen: dict[str, int] = {}
        cells = []
        for cell in self.cells_of(solved):
            text = without_markers(cell.text) if solved else stripped(cell.text)
            make = nbformat.v4.new_code_cell if cell.kind == "code" else nbformat.v4.new_markdown_cell
            node = make(text, id=_cell_id(cell, seen))
            if cell.tags:
                node.metadata["tags"] = list(cell.tags)
            hidden = {"source_hidden": cell.source_hidden, "outputs_hidden": cell.outputs_hidden}
            if any(hidden.values()):
                node.metadata["jupyter"] = {name: True for name, is_hidden in hidden.items() if is_hidden}
            cells.append(node)
        return nbformat.v4.new_notebook(cells=cells, metadata=_plain_metadata())


def read_lesson(path: Path) -> Lesson:
    """Read and check a lesson's source.

    Raises:
        LessonError: the first thing that is wrong, with its line.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    cells = _cells(path, lines)
    if not cells or cells[0].kind != "markdown" or not re.match(r"# \S", cells[0].text):
        line = cells[0].line if cells else 1
        raise LessonError(path, line, "the first cell must be markdown and start with '# ' and the title")
    solutions = []
    for cell in cells:
        if cell.kind == "code":
            solutions += _check_code(path, cell)
        else:
            _check_lines(path, cell)
    _check_exercises(path, cells)
    return Lesson(path, cells, solutions)


def without_markers(text: str) -> str:
    """A cell's text for the solved notebook: the answer stays, its markers go."""
    return "\n".join(line for line in text.splitlines() if line.strip() not in (BEGIN, END))


def stripped(text: str) -> str:
    """A cell's text for the learner: each solution has become `raise NotImplementedError("your turn")`."""
    kept, inside = [], False
    for line in text.splitlines():
        if line.strip() == BEGIN:
            inside = True
            kept.append(line[: len(line) - len(line.lstrip())] + YOUR_TURN)
        elif line.strip() == END:
            inside = False
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def parse_code(text: str) -> ast.Module:
    """The syntax tree of a cell; IPython's magics are understood, line numbers kept."""
    return ast.parse(TransformerManager().transform_cell(text))


def _cells(path: Path, lines: list[str]) -> list[Cell]:
    """jupytext's cells, each joined with the line that its `# %%` stands on."""
    text = "\n".join(lines) + "\n"
    nodes = jupytext.reads(text, fmt="py:percent").cells
    starts = [row for row, line in enumerate(lines, start=1) if re.match(r"# %%( |$)", line)]
    if len(starts) != len(nodes):
        raise LessonError(
            path,
            starts[0] if starts else 1,
            f"{len(starts)} lines start with '# %%' but they make {len(nodes)} cells: "
            "text stands before the first cell, or a '# %%' stands inside a string",
        )
    cells = []
    for start, node in zip(starts, nodes):
        row = start
        while row < len(lines) and not lines[row].strip():
            row += 1  # blank lines between the marker and the text are not part of the cell
        tags = tuple(node.metadata.get("tags", ()))
        hidden = node.metadata.get("jupyter", {})
        allowed = ("source_hidden", "outputs_hidden") if node.cell_type == "code" else ("source_hidden",)
        understood = set(hidden) <= set(allowed) and all(value is True for value in hidden.values())
        for tag in tags:
            if tag not in TAGS:
                raise LessonError(path, start, f"unknown tag {tag!r}; the tags are {', '.join(sorted(TAGS))}")
        strange = set(node.metadata) - {"tags", "lines_to_next_cell"} - ({"jupyter"} if understood else set())
        if strange or node.cell_type not in ("code", "markdown"):
            raise LessonError(
                path,
                start,
                'a cell is code or [markdown], with tags=[...] and jupyter={"source_hidden": true} (a code cell also '
                f'"outputs_hidden": true) and nothing else; this is {lines[start - 1]!r}',
            )
        if not node.source.strip():
            raise LessonError(path, start, "an empty cell")
        exercise = _defined_name(node.source) if "exercise" in tags else None
        cells.append(
            Cell(
                node.cell_type,
                node.source,
                row + 1,
                tags,
                "source_hidden" in hidden,
                "outputs_hidden" in hidden,
                exercise,
            )
        )
    return cells


def _defined_name(text: str) -> str | None:
    """The name of the one function or class that a cell holds below its imports; None if it holds anything else."""
    body = _below_imports(text)
    return body[0].name if len(body) == 1 and isinstance(body[0], (ast.FunctionDef, ast.ClassDef)) else None


def _below_imports(text: str) -> list[ast.stmt]:
    """The statements of a cell but for its imports; none at all if it is no Python."""
    try:
        body = parse_code(text).body
    except SyntaxError:
        return []
    return [statement for statement in body if not isinstance(statement, (ast.Import, ast.ImportFrom))]


def _says(cell: Cell | None, statement: str) -> bool:
    """Whether a cell holds this one statement below its imports."""
    body = _below_imports(cell.text) if cell is not None else []
    return len(body) == 1 and ast.unparse(body[0]) == statement


def check_after(cells: list[Cell], index: int) -> int | None:
    """Where the first code cell after the cell at `index` is: for a stub, its check."""
    return next((later for later in range(index + 1, len(cells)) if cells[later].kind == "code"), None)


def _check_lines(path: Path, cell: Cell) -> None:
    """Prose stands one sentence a line."""
    for row, line in enumerate(cell.text.splitlines(), start=1):
        if len(line) > LONGEST_LINE and not _TABLE_ROW.fullmatch(line) and not _ONLY_A_LINK.fullmatch(line):
            raise LessonError(
                path,
                cell.at(row),
                f"a line of {len(line)} characters; the limit is {LONGEST_LINE}, one sentence a line",
            )


def _check_code(path: Path, cell: Cell) -> list[list[str]]:
    """Check one code cell; give the lines of its solutions."""
    rows = cell.text.splitlines()
    solutions: list[tuple[int, list[str]]] = []
    begin = None
    for row, line in enumerate(rows, start=1):
        word = line.strip()
        if word == BEGIN:
            if begin is not None:
                outer = cell.at(begin)
                raise LessonError(path, cell.at(row), f"'{BEGIN}' inside the solution that began in line {outer}")
            begin = row
            solutions.append((row, []))
        elif word == END:
            if begin is None:
                raise LessonError(path, cell.at(row), f"'{END}' without '{BEGIN}' before it")
            begin = None
        elif re.match(r"#+\s*(BEGIN|END)\b.*SOLUTION", word, re.IGNORECASE):
            raise LessonError(path, cell.at(row), f"a marker is exactly '{BEGIN}' or '{END}'; this is {word!r}")
        elif begin is not None:
            solutions[-1][1].append(line)
    if begin is not None:
        raise LessonError(path, cell.at(begin), f"'{BEGIN}' without '{END}' in the same cell")
    for text, whose in ((without_markers(cell.text), "solved"), (stripped(cell.text), "learner's")):
        try:
            parse_code(text)
        except SyntaxError as error:
            line = cell.at(error.lineno or 1)
            raise LessonError(path, line, f"the {whose} cell is no valid Python: {error.msg}") from None
    for row, body in solutions:
        _check_solution(path, cell, row, body)
    if bool(solutions) != ("exercise" in cell.tags):
        raise LessonError(
            path, cell.line, 'a cell with a solution needs tags=["exercise"], and one with this tag a solution'
        )
    if "exercise" in cell.tags and cell.exercise is None:
        raise LessonError(
            path, cell.line, "an exercise's cell defines one function or class, below its imports, and nothing else"
        )
    return [body for _, body in solutions]


def _check_solution(path: Path, cell: Cell, row: int, body: list[str]) -> None:
    """A solution lies inside a function and holds code that is indented no less than its marker."""
    marker = cell.text.splitlines()[row - 1]
    indent = len(marker) - len(marker.lstrip())
    tree = parse_code(cell.text)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    code = [row + offset for offset, line in enumerate(body, start=1) if not re.match(r"\s*(#|$)", line)]
    if not code:
        raise LessonError(path, cell.at(row), "an empty solution")
    if not any(f.lineno < row and f.body[0].lineno <= code[-1] and code[-1] <= f.end_lineno for f in functions):
        raise LessonError(path, cell.at(row), f"'{BEGIN}' outside any function: there is no def around it")
    for number in code:
        if len(cell.text.splitlines()[number - 1]) - len(cell.text.splitlines()[number - 1].lstrip()) < indent:
            raise LessonError(path, cell.at(number), f"this line is indented less than its '{BEGIN}'")


def _check_exercises(path: Path, cells: list[Cell]) -> None:
    """Around each stub: a task before it; check, hints and use after it."""
    for index, cell in enumerate(cells):
        name = cell.exercise
        if name is None:
            continue
        check = check_after(cells, index)
        use = check_after(cells, check) if check is not None else None
        shape = [
            (index > 0 and cells[index - 1].kind == "markdown", "a markdown cell with the task before it"),
            (check is not None and _says(cells[check], f"check({name})"), f"'check({name})' as the next code cell"),
            (
                use is not None and _says(cells[use], f"{name} = use({name})"),
                f"'{name} = use({name})' as the next code cell after the check",
            ),
            (
                any("<details>" in between.text for between in cells[check or 0 : use]),
                "hints in <details> between check and use",
            ),
        ]
        for there, what in shape:
            if not there:
                raise LessonError(path, cell.line, f"the exercise {name!r} needs {what}")
        _check_heading(path, cells[:index], cell)
    names = [cell.exercise for cell in cells if cell.exercise]
    for cell in cells:
        if cell.exercise and names.count(cell.exercise) > 1:
            raise LessonError(path, cell.line, f"the exercise {cell.exercise!r} is set twice")


def _check_heading(path: Path, before: list[Cell], stub: Cell) -> None:
    """In the text before a stub: the exercise's heading, and below it the line with minutes and stars."""
    heading = re.compile(rf"### Exercise (?:\d+ )?· `{stub.exercise}`")
    for cell in reversed(before):
        rows = cell.text.splitlines() if cell.kind == "markdown" else []
        for row, line in enumerate(rows, start=1):
            if heading.fullmatch(line):
                below = next((later for later in rows[row:] if later.strip()), "")
                if not _COST.fullmatch(below):
                    message = (
                        f"'*15 minutes · ★★☆*' must stand below the heading of {stub.exercise!r}; there is {below!r}"
                    )
                    raise LessonError(path, cell.at(row), message)
                return
    message = (
        f"the exercise {stub.exercise!r} needs the heading '### Exercise · `{stub.exercise}`' in the text before it"
    )
    raise LessonError(path, stub.line, message)


def _cell_id(cell: Cell, seen: dict[str, int]) -> str:
    """An id that depends on the cell's own text, so that a cell put in above changes no other id."""
    digest = hashlib.sha256(f"{cell.kind}\n{cell.text}".encode()).hexdigest()[:8]
    seen[digest] = seen.get(digest, 0) + 1
    return digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"


def _plain_metadata() -> dict:
    return {
        "kernelspec": {"display_name": "Pixels to Prompts (CPU)", "language": "python", "name": KERNEL},
        "language_info": {
            "codemirror_mode": {"name": "ipython", "version": 3},
            "file_extension": ".py",
            "mimetype": "text/x-python",
            "name": "python",
            "nbconvert_exporter": "python",
            "pygments_lexer": "ipython3",
        },
    }
