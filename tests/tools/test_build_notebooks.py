"""The builder: two notebooks from one source, the same bytes each time, and nobody's work overwritten."""

import json
import os

import nbformat
import pytest
from build_notebooks import main
from lesson_source import read_lesson
from notebook_checks import leaks, outcome, problems
from notebook_outputs import WIDGET


@pytest.fixture
def built(course, capsys):
    """The tiny course, built once; its two notebooks as (learner's, solved)."""
    assert main(["--root", str(course)]) == 0, capsys.readouterr().err
    return course / "notebooks" / "07_tiny.ipynb", course / "solutions" / "07_tiny.ipynb"


def outputs(path):
    return [cell.get("outputs", []) for cell in nbformat.read(path, as_version=4).cells]


def test_build_and_build_again(built, course, capsys):
    """One long test, because it starts kernels."""
    first = [path.read_bytes() for path in built]
    stamps = [path.stat().st_mtime_ns for path in built]
    for path in built:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
        assert notebook.metadata.kernelspec.name == "course-cpu" and "widgets" not in notebook.metadata
        text = path.read_text(encoding="utf-8")
        assert WIDGET not in text and "0x7" not in text and "it/s" not in text and str(course) not in text
        below = path.parent.name == "solutions"  # by one cell: the settings
        assert outputs(path)[2 + below][0].data["text/plain"] == "epoch: (a progress bar of 5 steps)"
        assert "image/png" in outputs(path)[3 + below][0].data
        assert outputs(path)[4 + below][0].data["text/plain"] == "IntSlider(value=3)"
        assert outputs(path)[-1][0].traceback == ["ZeroDivisionError: division by zero"]
    learner, solved = (nbformat.read(path, as_version=4) for path in built)
    assert [outcome(learner.cells[7]), outcome(solved.cells[8])] == ["not attempted", "correct"]
    assert "answer_of_the_book" not in built[0].read_text(encoding="utf-8")
    assert "BEGIN SOLUTION" not in built[1].read_text(encoding="utf-8")

    assert main(["--root", str(course)]) == 0  # nothing to do
    assert [path.stat().st_mtime_ns for path in built] == stamps
    assert main(["--root", str(course), "--again"]) == 0  # everything done again
    assert [path.read_bytes() for path in built] == first
    assert [path.stat().st_mtime_ns for path in built] != stamps
    assert sorted(path.name for path in course.glob("*/*")) == ["07_tiny.ipynb", "07_tiny.ipynb", "07_tiny.py"]


def test_a_failing_cell_names_its_line_and_writes_nothing(course, change, capsys):
    path = change("1 / 0\n", "1 / 0\n\n# %%\nprint(2)\nnot_there\n")
    assert main(["--root", str(course)]) == 1
    line = path.read_text(encoding="utf-8").splitlines().index("print(2)") + 1
    said = capsys.readouterr().err
    assert f"solutions{os.sep}07_tiny.py:{line}: " in said and "NameError: name 'not_there' is not defined" in said
    assert not list(course.glob("*/*.ipynb"))


def test_check_says_what_is_out_of_step(course, change, fake_build, capsys):
    def check():
        status = main(["--root", str(course), "--check"])
        return status, capsys.readouterr().err

    assert check()[0] == 1 and check()[1].count("is missing") == 2
    fake_build()
    assert check() == (0, "")
    (course / "constraints.txt").write_text("numpy==2.0\n")
    assert check()[1].count("is older than what it was run with: constraints.txt was added") == 2
    fake_build()
    path = course / "notebooks" / "07_tiny.ipynb"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "changed"}]
    path.write_text(json.dumps(content), encoding="utf-8")
    assert check()[0] == 1 and "run or changed after it was built" in check()[1]
    fake_build()
    change("# *5 minutes", "# *6 minutes")
    assert check()[1].count("does not hold the cells of") == 2


def test_an_edited_notebook_is_left_alone(course, change, fake_build, capsys):
    fake_build()
    path = course / "notebooks" / "07_tiny.ipynb"
    stub = 'raise NotImplementedError(\\"your turn\\")'
    mine = path.read_text(encoding="utf-8").replace(stub, "return width * height")
    assert "return width * height" in mine
    path.write_text(mine, encoding="utf-8")
    change("# *5 minutes", "# *6 minutes")
    assert main(["--root", str(course)]) == 1
    assert path.read_text(encoding="utf-8") == mine
    assert "07_tiny.ipynb was changed by hand since it was built" in capsys.readouterr().err
    path.write_text("{}", encoding="utf-8")  # nor is anything lost that is no notebook of ours
    assert main(["--root", str(course)]) == 1 and path.read_text(encoding="utf-8") == "{}"


def test_an_unknown_lesson_is_refused(course, capsys):
    assert main(["--root", str(course), "99"]) == 1
    assert "'99'" in capsys.readouterr().err


SOLUTION = "    answer_of_the_book = width * height + 0 * width * height"


@pytest.mark.parametrize(
    ("where", "text", "leaks_out"),
    [
        ("source", SOLUTION, True),
        ("source", "answer_of_the_book=width*height+0*width * height  # my comment", True),
        ("markdown", f"Hint: `{SOLUTION.strip()}`", True),
        ("stdout", SOLUTION, True),
        ("html", "<b>answer_of_the_book</b> = width * height + <span>0</span> * width * height", True),
        ("source", "return answer_of_the_book", False),
        ("source", "answer = width * height", False),
        ("markdown", "The book's answer has a width and a height.", False),
    ],
)
def test_a_leaked_solution_is_found(course, where, text, leaks_out):
    lesson = read_lesson(course / "solutions" / "07_tiny.py")
    notebook = lesson.notebook(solved=False)
    match where:
        case "source":
            notebook.cells[3].source += "\n" + text
        case "markdown":
            notebook.cells[5].source += "\n" + text
        case "stdout":
            notebook.cells[3].outputs.append(nbformat.v4.new_output("stream", text=text))
        case "html":
            notebook.cells[3].outputs.append(nbformat.v4.new_output("display_data", {"text/html": text}))
    found = list(leaks(lesson, notebook))
    assert bool(found) == leaks_out
    if leaks_out:
        assert found[0][0] == lesson.cells[5 if where == "markdown" else 3].line


def test_short_solutions_leak_as_a_whole_only(course, change):
    path = change(f"{SOLUTION}\n    return answer_of_the_book", "    bigger = width * height\n    return bigger")
    lesson = read_lesson(path)
    notebook = lesson.notebook(solved=False)
    notebook.cells[3].source += "\nbigger = width * height"
    assert not list(leaks(lesson, notebook))
    notebook.cells[3].source += "\nreturn bigger"
    assert list(leaks(lesson, notebook))


def executed(lesson, solved):
    """A notebook that looks executed and well."""
    notebook = lesson.notebook(solved)
    for count, cell in enumerate([cell for cell in notebook.cells if cell.cell_type == "code"], start=1):
        cell.execution_count = count
        if cell.source == "check(area)":
            text = "area: correct" if solved else "area: not attempted"
            cell.outputs = [nbformat.v4.new_output("stream", text=text)]
    return notebook


def check_of(notebook):
    return next(cell for cell in notebook.cells if cell.source == "check(area)")


def printed(text, name="stdout"):
    return nbformat.v4.new_output("stream", text=text, name=name)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda nb, root: nb.cells[3].update(execution_count=None), "not executed"),
        (lambda nb, root: nb.cells[4].update(execution_count=3), "not executed, or not in order"),
        (lambda nb, root: nb.cells[3].outputs.append(printed("Warning!", name="stderr")), "stderr"),
        (lambda nb, root: nb.cells[3].outputs.append(nbformat.v4.new_output("error", ename="E")), "raised E"),
        (lambda nb, root: nb.cells[3].outputs.append(printed(f"saved {root}/data/x")), "path of this machine"),
        (lambda nb, root: nb.cells[3].outputs.append(printed("x" * 4_000_001)), "the limit is 4 MB"),
        (lambda nb, root: check_of(nb).update(outputs=[printed("area: wrong (too big)")]), "says 'wrong'"),
        (lambda nb, root: check_of(nb).update(outputs=[]), "says None"),
    ],
)
def test_what_is_wrong_with_a_notebook_is_named(course, spoil, message):
    lesson = read_lesson(course / "solutions" / "07_tiny.py")
    for solved in (True, False):
        notebook = executed(lesson, solved)
        assert list(problems(lesson, notebook, solved, course)) == []
        spoil(notebook, course)
        found = list(problems(lesson, notebook, solved, course))
        assert len(found) == 1 and message in found[0][1]
