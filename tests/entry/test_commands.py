"""The other commands of the Makefile, how JupyterLab is started, and that the ways in agree with one another."""

import json
import os
import re
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import pytest
import yaml
from lab import about_port, arguments
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from tiny_course import PERSON, REPOSITORY, Course

TARGETS = {"help", "install", "lab", "check", "test", "notebooks", "checkpoints", "bench", "clean"}
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="GNU make is not installed")


@needs_make
def test_help_is_what_make_says_first_and_lists_every_command():
    out = subprocess.run(["make"], cwd=REPOSITORY, env=PERSON, capture_output=True, text=True, check=True).stdout
    assert {line.split()[1] for line in out.splitlines()} == TARGETS
    readme = (REPOSITORY / "README.md").read_text()
    assert set(re.findall(r"(?m)(?:^|`)make ([a-z]+)", readme)) <= TARGETS


@needs_make
def test_make_says_that_there_is_no_python(course: Course):
    result = course.run("make", "lab", "PYTHON=python-of-nobody")
    ours = [line for line in result.stderr.splitlines() if not line.startswith("make: ***")]
    assert result.returncode != 0 and len(ours) == 1 and "there is no python-of-nobody" in ours[0]


@needs_make
def test_commands_from_nothing_to_clean(course: Course):
    course.fake(quick=False)
    python = course.fakes / "python of mine"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{course.fakes}" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    kept = [course.root / name for name in ("notebooks/01_mine.ipynb", "data/progress.json", "data/photos/cat.png")]
    kept.append(course.root / "notebooks/.ipynb_checkpoints/01_mine-checkpoint.ipynb")
    for file in kept:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()

    out = course.run("make", "lab", f"PYTHON={python}", "PORT=8123", "LAB_ARGS=--no-browser --ip=0.0.0.0").stdout
    assert "is ready" in out
    assert {"--port=8123", "--no-browser", "--ip=0.0.0.0"} <= set(out.splitlines())
    assert "--port=8888" in course.run("make", "lab").stdout.splitlines()

    assert "no recipe" in course.run("make", "checkpoints").stdout
    recipes = course.root / "data" / "checkpoints"
    recipes.mkdir()
    for name in ("b", "a"):
        (recipes / f"{name}.py").write_text(f"import lib; print('trained {name}')")
    assert re.findall(r"trained (\w)", course.run("make", "checkpoints").stdout) == ["a", "b"]
    (recipes / "a.py").write_text("raise SystemExit(3)")
    assert course.run("make", "checkpoints").returncode != 0

    cleaned = course.run("make", "clean")
    assert cleaned.returncode == 0 and ".venv" in cleaned.stdout
    assert not (course.root / ".venv").exists() and not (course.root / "build").exists()
    assert all(file.exists() for file in kept)


def test_jupyterlab_is_started_for_a_person_at_a_screen_in_a_container_and_without_a_display():
    screen = arguments([], {"DISPLAY": ":0"}, root_user=False)
    assert "--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb" in screen
    assert "--allow-root" not in screen and "--no-browser" not in screen
    container = arguments(["--ip=0.0.0.0"], {}, root_user=True)
    assert "--allow-root" in container and container[-1] == "--ip=0.0.0.0"
    assert ("--no-browser" in container) == (sys.platform == "linux")
    assert "--no-browser" not in arguments([], {"BROWSER": "firefox"}, root_user=False)


def test_a_taken_port_is_said_and_one_ctrl_c_stops_jupyterlab(tmp_path: Path):
    pty = pytest.importorskip("pty")  # not on Windows
    private = {f"JUPYTER_{name}_DIR": str(tmp_path / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    with socket.create_server(("localhost", 0)) as other:
        port = other.getsockname()[1]
        process, terminal = pty.fork()
        if process == 0:
            command = [sys.executable, "tools/lab.py", "--no-browser", f"--port={port}"]
            try:
                os.chdir(REPOSITORY)
                os.execve(sys.executable, command, os.environ | private | {"HOME": str(tmp_path)})
            finally:
                os._exit(1)
        said, pressed = "", False
        with os.fdopen(terminal, "rb", buffering=0) as screen:
            while "Shut down this" not in said:
                try:
                    more = screen.read(4096)
                except OSError:  # Linux ends a terminal so
                    break
                if not more:
                    break
                said += more.decode()
                if not pressed and (found := re.search(r"http://localhost:(\d+)/\S+token=\w+\s", said)):
                    pressed = os.write(terminal, b"\x03") == 1
        if "Shut down this" in said:
            os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
    assert status == 0, said
    assert f"Port {port} is taken" in said and int(found[1]) != port
    assert about_port([f"--port={port}"]) == ""


def test_jupyterlab_starts_with_settings_that_it_knows_and_fetches_no_news():
    from jupyterlab_server.settings_utils import get_settings

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    shipped = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]["tools/jupyterlab.json"]
    assert re.fullmatch(r"share/jupyter/lab/settings/overrides\.d/\w+\.json", shipped)
    overrides = json.loads((REPOSITORY / "tools" / "jupyterlab.json").read_text())
    schemas = f"{sys.prefix}/share/jupyter/lab/schemas"
    for plugin, values in overrides.items():
        found, _ = get_settings("/nowhere", schemas, "/nowhere", schema_name=plugin, overrides=overrides)
        for name, value in values.items():
            default = found["schema"]["properties"][name]["default"]
            assert default == value or value.items() <= default.items(), (plugin, name)
    assert overrides["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"


def test_a_wheel_is_refused_with_a_sentence_and_an_editable_install_is_not(monkeypatch):
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    hook = REPOSITORY / project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]["path"]
    interface = types.ModuleType("interface")  # hatchling is there during an install alone
    interface.BuildHookInterface = object
    monkeypatch.setitem(sys.modules, "hatchling.builders.hooks.plugin.interface", interface)
    refuse = runpy.run_path(str(hook))["OnlyEditable"]().initialize
    assert refuse("editable", {}) is None
    with pytest.raises(SystemExit, match="pip install -e"):
        refuse("standard", {})


def everything(project: dict) -> list[str]:
    """What an environment of the course holds, as pyproject.toml lists it."""
    return sum(project["optional-dependencies"].values(), project["dependencies"])


def test_a_hosted_notebook_keeps_its_own_jupyter():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    alone = {Requirement(line).name for line in project["dependencies"]}
    assert not alone & {"jupyterlab", "notebook", "ipykernel"}
    assert {"jupyterlab", "ipykernel"} <= {Requirement(line).name for line in everything(project)}


def test_conda_takes_everything_from_the_one_list():
    conda = yaml.safe_load((REPOSITORY / "environment.yml").read_text())
    *plain, by_pip = conda["dependencies"]
    assert by_pip == {"pip": ["-c constraints.txt", "-e .[lab,dev]"]}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert set(project["optional-dependencies"]) == {"lab", "dev"}
    named = {re.match(r"[\w.-]+", package)[0] for package in plain}
    listed = {Requirement(line).name for line in everything(project)}
    assert named == {"python", "pip"} and not named & listed
    python = plain[0].removeprefix("python=")
    assert python in SpecifierSet(project["requires-python"])
    assert f"Python {python}" in (REPOSITORY / "constraints.txt").read_text().splitlines()[0]


def test_every_exact_version_is_one_that_the_list_allows():
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    exact = dict(line.lower().replace("_", "-").split("==") for line in lines if line and not line.startswith("#"))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    for line in everything(project):
        wanted = Requirement(line)
        if not any(one.operator == "==" for one in wanted.specifier):  # the list itself is exact there
            assert exact[wanted.name.lower()] in wanted.specifier, line


def test_what_runs_on_every_change_is_make_test():
    run = REPOSITORY / ".ci" / "run"
    assert run.stat().st_mode & 0o111
    commands = [line for line in run.read_text().splitlines() if not line.startswith("#")]
    assert commands == ['cd "$(dirname "$0")/.." && exec make test']
