"""Reading a lesson's source: what it becomes, and that each mistake names its line."""

from pathlib import Path

import pytest
from lesson_source import SETTINGS, LessonError, read_lesson

STUB = '''\
def area(width: float, height: float) -> float:
    """The area of a rectangle."""
    raise NotImplementedError("your turn")'''


DEF = "def area(width: float, height: float) -> float:"


def line_of(path, text):
    return path.read_text(encoding="utf-8").splitlines().index(text) + 1


def test_the_learner_gets_the_stub_and_the_solved_notebook_the_answer(course):
    lesson = read_lesson(course / "solutions" / "07_tiny.py")
    stub, solved = lesson.notebook(False).cells[6].source, lesson.notebook(True).cells[7].source
    assert stub == STUB
    assert solved.splitlines()[2:] == [
        "    answer_of_the_book = width * height + 0 * width * height",
        "    return answer_of_the_book",
    ]
    assert "SOLUTION" not in str(lesson.notebook(True)) + str(lesson.notebook(False))


def test_the_solved_notebook_alone_has_its_settings_below_the_title(course):
    lesson = read_lesson(course / "solutions" / "07_tiny.py")
    learners, solved = ([(c.id, c.cell_type) for c in lesson.notebook(solved).cells] for solved in (False, True))
    settings = solved.pop(1)
    assert settings[1] == "code" and solved == learners
    assert [cell.text for cell in lesson.cells_of(True)][1] == SETTINGS.text


def test_cells_know_their_lines(course):
    path = course / "solutions" / "07_tiny.py"
    lines = path.read_text(encoding="utf-8").splitlines()
    for cell in read_lesson(path).cells:
        prefix = "# " if cell.kind == "markdown" else ""
        assert lines[cell.line - 1] == prefix + cell.text.splitlines()[0]


def test_a_cell_put_in_changes_no_other_id(course, change):
    path = course / "solutions" / "07_tiny.py"
    before = [cell.id for cell in read_lesson(path).notebook(False).cells]
    change("# %% [markdown]\n# ### Ex", "# %%\nprint(1)\n\n# %%\nprint(1)\n\n# %% [markdown]\n# ### Ex")
    after = [cell.id for cell in read_lesson(path).notebook(False).cells]
    assert len(set(after)) == len(after) == len(before) + 2
    assert [i for i in after if i in before] == before


def test_a_method_may_be_the_exercise(course, change):
    path = change(
        "def area(width: float, height: float) -> float:\n",
        "class area:\n  def forward(self, width, height):\n",
    )
    stub = next(c for c in read_lesson(path).notebook(False).cells if "exercise" in c.metadata.get("tags", ()))
    assert stub.source.splitlines()[-1] == '    raise NotImplementedError("your turn")'


@pytest.mark.parametrize(
    ("old", "new", "at", "message"),
    [
        ("    ### END SOLUTION\n", "", "    ### BEGIN SOLUTION", "without '### END SOLUTION'"),
        ("    ### BEGIN SOLUTION\n", "", "    ### END SOLUTION", "without '### BEGIN SOLUTION'"),
        ("    return answer", "    ### BEGIN SOLUTION\n    return answer", 2, "inside the solution that began in line"),
        ("    ### BEGIN SOLUTION", "    # BEGIN SOLUTION", "    # BEGIN SOLUTION", "a marker is exactly"),
        ("widgets.IntSlider(3)", "### BEGIN SOLUTION\nx = 1\n### END SOLUTION", "### BEGIN SOLUTION", "no def around"),
        (
            "widgets.IntSlider(3)",
            "def f():\n    return 1\n### BEGIN SOLUTION\nx = 1\n### END SOLUTION",
            "### BEGIN SOLUTION",
            "no def around",
        ),
        (
            "    answer_of_the_book = width * height + 0 * width * height\n    return answer_of_the_book\n",
            "",
            "    ### BEGIN SOLUTION",
            "empty solution",
        ),
        ('# %% tags=["exercise"]\n', '# %% tags=["excercise"]\n', '# %% tags=["excercise"]', "unknown tag 'excercise'"),
        ('# %% tags=["exercise"]\n', "# %%\n", DEF, "with a solution needs tags="),
        ('# %% tags=["raises-exception"]', "# %% a name", "# %% a name", "nothing else"),
        ("def area(", "SIDES = 4\ndef area(", "SIDES = 4", "one function or class, below its imports"),
        ("# # A tiny", "# A tiny", "# A tiny lesson", "and the title"),
        ("check(area)\n", "check(area), 1\n", DEF, "'check\\(area\\)' as the next"),
        ("area = use(area)\n", "area = area\n", DEF, "'area = use\\(area\\)'"),
        ("<details>", "<p>", DEF, "hints in <details>"),
        ("1 / 0", "1 /", "1 /", "no valid Python"),
        ("1 / 0", "", '# %% tags=["raises-exception"]', "an empty cell"),
        ("# Multiply.", f"# {'x' * 161}", f"# {'x' * 161}", "a line of 161 characters; the limit is 160"),
        ("# ### Exercise · `area`\n", "", DEF, "needs the heading '### Exercise · `area`'"),
        ("# ### Exercise · `area`", "# ### Exercise · `width`", DEF, "needs the heading"),
        ("# *5 minutes · ★☆☆*\n#\n", "", "# ### Exercise · `area`", "must stand below .* there is 'Multiply.'"),
        ("# *5 minutes · ★☆☆*", "# *5 minutes · ☆★★*", "# ### Exercise · `area`", "must stand below"),
        ("# *5 minutes · ★☆☆*", "# 5 minutes, easy", "# ### Exercise · `area`", "must stand below"),
        (
            '"outputs_hidden": true',
            '"outputs_hidden": false',
            '# %% jupyter={"outputs_hidden": false}',
            "and nothing else",
        ),
        (
            "# %% [markdown]\n# # A tiny",
            '# %% [markdown] jupyter={"outputs_hidden": true}\n# # A tiny',
            '# %% [markdown] jupyter={"outputs_hidden": true}',
            "and nothing else",
        ),
        ("import ipywidgets", 's = """\n# %% no cell\n"""\nimport ipywidgets', 1, "make"),
    ],
)
def test_a_mistake_names_file_and_line(change, old, new, at, message):
    path = change(old, new)
    with pytest.raises(LessonError, match=message) as caught:
        read_lesson(path)
    if at == 2:  # the second of two equal lines
        at = [i for i, line in enumerate(path.read_text().splitlines(), 1) if line == "    ### BEGIN SOLUTION"][1]
    assert str(caught.value).startswith(f"{path}:{at if isinstance(at, int) else line_of(path, at)}: ")


def test_imports_and_words_may_stand_around_the_three_cells(change):
    path = change("def area(", "import math\n\n\ndef area(")
    path = change("check(area)\n", "from lib.exercises import check\n\ncheck(area)\n")
    path = change("# %%\nfrom lib", "# %% [markdown]\n# Now ask.\n\n# %%\nfrom lib")
    assert [cell.exercise for cell in read_lesson(path).cells if cell.exercise] == ["area"]


def test_what_may_be_long(change):
    wide = "word " * 40
    path = change(
        "# Multiply.", f"# | {wide} |\n# [a link](https://example.org/{'x' * 200})\n# ![](data:{'y' * 200})\n#"
    )
    assert wide in "".join(cell.text for cell in read_lesson(path).cells)


def test_what_is_folded_stays_so(course, change):
    change('{"outputs_hidden": true}', '{"source_hidden": true, "outputs_hidden": true}')
    for solved in (False, True):
        cells = read_lesson(course / "solutions" / "07_tiny.py").notebook(solved).cells
        folded = [cell.metadata.jupyter for cell in cells if "jupyter" in cell.metadata]
        assert folded == [{"source_hidden": True}] * solved + [{"source_hidden": True, "outputs_hidden": True}]


def test_an_exercise_may_have_a_number_and_one_minute(change):
    change("### Exercise · `area`", "### Exercise 2 · `area`")
    assert read_lesson(change("*5 minutes", "*1 minute")).cells


def test_the_template_is_a_lesson():
    template = Path(__file__).parents[2] / "solutions" / "template.py"
    assert [cell.exercise for cell in read_lesson(template).cells if cell.exercise] == ["name_of_the_function"]
