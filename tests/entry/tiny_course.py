"""A tiny course to install: the real Makefile and tools, a project that needs nothing from any network."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

# The environment variables of a person at a prompt, without those of the `make` or the tests that we run under.
PERSON = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}

PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "tiny-course"
version = "1"
requires-python = ">=3.11"
dependencies = [{dependencies}]
optional-dependencies = {{ lab = [], dev = [] }}
"""

# Builds an editable wheel by hand; `mood.py` lets a test disturb it in the middle.
BACKEND = """\
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent
EXTRAS = "Provides-Extra: lab\\nProvides-Extra: dev\\n"
METADATA = "Metadata-Version: 2.1\\nName: tiny-course\\nVersion: 1\\n" + EXTRAS + "{requires}"
WHEEL = "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"

def build_editable(folder, config_settings=None, metadata_directory=None):
    exec((ROOT / "mood.py").read_text())
    name = "tiny_course-1-py3-none-any.whl"
    with zipfile.ZipFile(Path(folder) / name, "w") as wheel:
        wheel.writestr("tiny_course.pth", str(ROOT))
        wheel.writestr("tiny_course-1.dist-info/METADATA", METADATA)
        wheel.writestr("tiny_course-1.dist-info/WHEEL", WHEEL)
        wheel.writestr("tiny_course-1.dist-info/RECORD", "")
    return name
"""


@dataclass
class Course:
    """A checkout of the tiny course and the variables that a person might have set."""

    root: Path
    fakes: Path
    variables: dict[str, str]
    copier: Path  # stands in for a Python of which only `-m venv FOLDER` is wanted: copies a ready one, in no time

    @property
    def python(self) -> Path:
        return self.root / ".venv" / "bin" / "python"

    @property
    def stamp(self) -> Path:
        return self.root / ".venv" / "stamp.json"

    def mood(self, code: str) -> None:
        """Run this in the middle of pip's work from now on."""
        (self.root / "mood.py").write_text(code)

    def needs(self, *requirements: str) -> None:
        """Make these packages the course's dependencies."""
        listed = ", ".join(f'"{requirement}"' for requirement in requirements)
        (self.root / "pyproject.toml").write_text(PYPROJECT.format(dependencies=listed))
        lines = "".join(f"Requires-Dist: {requirement}\\n" for requirement in requirements)
        (self.root / "backend.py").write_text(BACKEND.replace("{requires}", lines))

    def fake(self, code: str = "", free: float = 100, quick: bool = True) -> None:
        """Run this at the start of the Python that installs, and only there; the disk has so many gigabytes free."""
        lines = [
            "import shutil, sys",
            f"shutil.disk_usage = lambda _: shutil._ntuple_diskusage(10**12, 0, int({free} * 10**9))",
            f"sys._base_executable = {str(self.copier)!r}" if quick else "",
            code,
        ]
        (self.fakes / "sitecustomize.py").write_text("\n".join(lines))

    def start(self, *command: str, **variables: str) -> subprocess.Popen:
        return subprocess.Popen(
            command or (sys.executable, "tools/install.py"),
            cwd=self.root,
            env=self.variables | variables,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess:
        with self.start(*command, **variables) as process:
            out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture(scope="session")
def copier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ready")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    script = folder / "python"
    script.write_text(f'#!/bin/sh\nexec cp -a "{folder}/venv/." "$3"\n')
    script.chmod(0o755)
    return script


@pytest.fixture
def course(tmp_path: Path, copier: Path) -> Course:
    root = tmp_path / "a course"
    for name in ("Makefile", "tools", "kernels"):
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            root.mkdir(exist_ok=True)
            shutil.copy(source, root / name)
    for name in ("lib", "torchvision", "jupyterlab"):
        (root / name).mkdir()
        (root / name / "__init__.py").touch()
    (root / "jupyterlab" / "labapp.py").write_text("import sys\ndef main(argv):\n    print(*argv, sep='\\n')\n")
    (root / "constraints.txt").touch()
    fakes = tmp_path / "fakes"
    fakes.mkdir()
    offline = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1", "PIP_CONFIG_FILE": os.devnull}
    made = Course(root, fakes, PERSON | offline | {"PIP_NO_CACHE_DIR": "1", "PYTHONPATH": str(fakes)}, copier)
    made.needs()
    made.mood("")
    made.fake()
    return made
