"""nbval as somebody would call it who knows it, on a made-up course: from the root, from a folder, strict and lax."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from kernel_run import ROOT
from lesson_source import SETTINGS

CELLS = [  # (source, stored output, whether it is the same)
    ("print('289 windows ≈ 48.1 ms: ≈ 7 times')", "289 windows ≈ 9.3 ms: ≈ 21 times\n", True),
    ("print('288 windows ≈ 48.1 ms')", "289 windows ≈ 48.1 ms\n", False),
    ("print('0.5')", "≈ 0.5\n", False),
    ("print(0.1235)", "0.1234\n", True),
    ("print(0.13)", "0.11\n", False),
    ("print('cat')", "dog\n", False),
    ("print(object())", "<object object at 0x0>\n", True),  # stored so by the builder
    ("assert 1 == 2", None, False),
]
# A progress bar is stored in words of the builder's: nbval must find the kernel's equal to them.
BAR = nbformat.v4.new_code_cell("from tqdm.auto import tqdm\nfor _ in tqdm(range(3)): pass", execution_count=9)
BAR.outputs = [nbformat.v4.new_output("display_data", {"text/plain": " (a progress bar of 3 steps)"})]
STRICT = ["PASSED" if same else "FAILED" for *_, same in CELLS] + ["PASSED"]
LAX = ["FAILED" if source.startswith("assert") else "PASSED" for source, *_ in CELLS] + ["PASSED"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A course of this one's tools and settings, with one made-up notebook in each folder."""
    for name in ("conftest.py", "pyproject.toml", "tools", "tests/nbval_sanitise.cfg", "tests/no_network"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (tmp_path / name).parent.mkdir(exist_ok=True)
        copy(ROOT / name, tmp_path / name)
    cells = [BAR]
    for source, stored, _ in reversed(CELLS):
        cells.insert(0, nbformat.v4.new_code_cell(source, execution_count=1))
        cells[0].outputs = [nbformat.v4.new_output("stream", text=stored)] if stored else []
    for folder in ("notebooks", "solutions"):
        (tmp_path / folder).mkdir()
        metadata = {"kernelspec": {"name": "course-cpu", "display_name": "", "language": "python"}}
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), tmp_path / folder / "01_made_up.ipynb")
    return tmp_path


def run_pytest(folder: Path, *arguments: str, **environment: str) -> str:
    """What a plain `pytest` prints when it is called there."""
    command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", *arguments]
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("COURSE_P", "COURSE_NO_"))}
    return subprocess.run(command, cwd=folder, env=plain | environment, capture_output=True, text=True).stdout


def verdicts(said: str, notebook: str) -> list[str]:
    """PASSED or FAILED for each cell of a notebook, in order."""
    found = re.findall(rf"^(PASSED|FAILED) \S*{re.escape(notebook)}::Cell (\d+)", said, flags=re.MULTILINE)
    return [verdict for verdict, _ in sorted(found, key=lambda pair: int(pair[1]))]


@pytest.mark.parametrize(
    ("below", "arguments", "notebooks"),
    [
        (".", ["notebooks/01_made_up.ipynb"], ["notebooks"]),
        (".", ["solutions"], ["solutions"]),
        (".", [], ["notebooks", "solutions"]),
        ("notebooks", ["01_made_up.ipynb"], ["notebooks"]),
        ("solutions", [], ["solutions"]),
    ],
)
def test_strict_compares_words_exactly_and_numbers_nearly_from_wherever_it_is_called(root, below, arguments, notebooks):
    costs = root / "costs.jsonl"
    said = run_pytest(root / below, "--nbval", *arguments, COURSE_COSTS=str(costs))
    for folder in notebooks:
        name = f"{folder}/01_made_up.ipynb"
        assert verdicts(said, name if below == "." else "01_made_up.ipynb") == STRICT, said
        assert name in costs.read_text()
    assert said.count("PASSED") + said.count("FAILED") == len(CELLS + [BAR]) * len(notebooks), said  # none runs twice


@pytest.mark.parametrize(
    ("below", "argument"), [(".", "notebooks/01_made_up.ipynb"), ("notebooks", "01_made_up.ipynb")]
)
def test_lax_wants_no_errors_only(root, below, argument):
    assert verdicts(run_pytest(root / below, "--nbval-lax", argument), "01_made_up.ipynb") == LAX


def test_without_nbval_no_notebook_is_run(root):
    assert "no tests ran" in run_pytest(root)


@pytest.mark.parametrize("how", ["nbval", "jupyter execute"])
def test_a_solved_notebook_leaves_the_learners_progress_alone(root, how):
    mine = root / "mine.json"
    mine.write_text("what I solved")
    solves = 'import os\nfor name in ("COURSE_PROGRESS", "COURSE_NO_FALLBACK"): print(os.environ[name])\n'
    solves += 'open(os.environ["COURSE_PROGRESS"], "w").write("all of it")'
    cells = [nbformat.v4.new_code_cell(source) for source in (SETTINGS.text, solves)]
    path = root / "solutions" / "02_solved.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    if how == "nbval":  # any kernel will do
        said = run_pytest(path.parent, "--nbval", "--nbval-kernel-name=python3", path.name, COURSE_PROGRESS=str(mine))
        assert verdicts(said, path.name) == ["PASSED", "PASSED"], said
    else:
        command = [sys.executable, "-m", "jupyter", "execute", "--kernel_name=python3", "--inplace", str(path)]
        subprocess.run(command, env={**os.environ, "COURSE_PROGRESS": str(mine)}, check=True, capture_output=True)
        printed = nbformat.read(path, as_version=4).cells[1].outputs[0].text.split()
        assert printed[0] != str(mine) and printed[1] == "1"
        assert not Path(printed[0]).parent.exists()  # nothing is left behind
    assert mine.read_text() == "what I solved"
