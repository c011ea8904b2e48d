"""A JupyterLab over a folder of notebooks, and a headless Chromium to use it with.

The browser is the system's. Where there is none, it is installed with apt-get if we may (root, or sudo without a
password); otherwise the lane is skipped and says why.
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from build_notebooks import lesson_paths
from kernel_run import NO_NETWORK, ROOT
from lesson_source import read_lesson
from own_work import notebook_to_test
from playwright.sync_api import Browser, Page, sync_playwright
from system_browser import how_to_install, installed_browser
from widget_cells import widget_cells

sys.path.insert(0, str(Path(__file__).parent))

from classroom import Classroom  # noqa: E402  (its folder has just joined the path)

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
]
START = 60  # seconds for JupyterLab to answer


@pytest.fixture(scope="session")
def browser_path() -> str:
    """A Chromium, installed if need be; without one, the tests are skipped and say why."""
    path = installed_browser()
    if path:
        return path
    command = how_to_install()
    if isinstance(command, str):
        pytest.skip(f"no Chromium on this machine, and {command}; install the package `chromium` to run this lane")
    print("installing chromium with apt-get ...", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["install"], ["update"], ["install"]):  # the lists of packages may be old, or not there at all
        packages = ["-y", "--no-install-recommends", "chromium"] if arguments == ["install"] else []
        done = subprocess.run([*command, *arguments, *packages], env=environment, capture_output=True, text=True)
        path = installed_browser()
        if path:
            return path
    pytest.skip(f"no Chromium on this machine, and apt-get could not install it: {done.stderr.strip()[-300:]}")


@dataclass
class Lab:
    """A running JupyterLab."""

    url: str
    token: str
    folder: Path  # copies of the learner's notebooks: what is done here touches nobody's work

    def address(self, notebook: str) -> str:
        """Where a notebook opens."""
        return f"{self.url}/lab/tree/{notebook}?token={self.token}&reset"


@pytest.fixture(scope="session")
def lab(browser_path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab, with settings, progress and notebooks of its own. Ends with the session."""
    home = tmp_path_factory.mktemp("lab")
    folder = home / "notebooks"
    folder.mkdir()
    for source in lesson_paths(ROOT):
        shutil.copy(notebook_to_test(source, solved=False), folder)
    settings = home / "settings" / "@jupyterlab"
    for plugin, text in {
        "notebook-extension/tracker": '{"windowingMode": "none"}',  # cells out of sight are in the page, too
        "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false, "doNotDisturbMode": true}',
    }.items():
        file = settings / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = Lab(f"http://127.0.0.1:{port}", secrets.token_hex(16), folder)
    environment = os.environ | {
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "IPYTHONDIR": str(home / "ipython"),
        "COURSE_PROGRESS": str(home / "progress.json"),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(NO_NETWORK), os.environ.get("PYTHONPATH")])),
    }
    environment.pop("COURSE_NO_FALLBACK", None)
    log = open(home / "lab.log", "w+", encoding="utf-8")
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "jupyterlab",
            "--no-browser",
            "--allow-root",
            f"--ServerApp.port={port}",
            "--ServerApp.port_retries=0",
            "--ServerApp.ip=127.0.0.1",
            f"--IdentityProvider.token={running.token}",
            f"--ServerApp.root_dir={folder}",
        ],
        cwd=folder,
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        deadline = time.monotonic() + START
        while not _answers(running):
            if server.poll() is not None or time.monotonic() > deadline:
                log.seek(0)
                pytest.fail(f"JupyterLab did not start within {START} s:\n{log.read()[-3000:]}")
            time.sleep(0.2)
        yield running
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        log.close()


def _answers(lab: Lab) -> bool:
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{lab.url}/api?token={lab.token}", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="session")
def chromium(browser_path: str) -> Iterator[Browser]:
    """The browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def page(chromium: Browser) -> Iterator[Page]:
    """A wide window. One for all notebooks: JupyterLab loads faster where it was loaded before."""
    context = chromium.new_context(viewport={"width": 1400, "height": 1000})
    yield context.new_page()
    context.close()


@pytest.fixture
def open_notebook(lab: Lab, page: Page) -> Iterator[Callable[[str], Classroom]]:
    """`open_notebook(name)` opens a notebook of the lab's folder; it is closed after the test."""
    opened = []

    def open_one(name: str) -> Classroom:
        opened.append(Classroom(page, lab.address(name)))
        return opened[-1]

    yield open_one
    for classroom in opened:
        classroom.close()


@pytest.fixture
def open_widgets(lab: Lab, open_notebook: Callable[[str], Classroom]) -> Callable[[Path], Classroom]:
    """`open_widgets(source)` opens a notebook of what a lesson's widgets need, cut out of the learner's."""

    def open_one(source: Path) -> Classroom:
        notebook = read_lesson(source).notebook(solved=False)
        texts = widget_cells([cell.source for cell in notebook.cells if cell.cell_type == "code"])
        notebook.cells = [nbformat.v4.new_code_cell(text) for text in texts]
        name = f"{source.stem}_widgets.ipynb"
        nbformat.write(notebook, lab.folder / name)
        return open_notebook(name)

    return open_one
