"""The course's environment: one folder `.venv`, built from pyproject.toml and constraints.txt.

A build writes the mark `.venv/unfinished` first and the stamp `.venv/stamp.json` last. The stamp holds a hash of what
the environment was built from, so a second call only compares; a build that stopped half-way leaves the mark, and
is thrown away by the next one. Whatever goes wrong ends in one sentence on stderr and exit code 1.

Environment variables (on make's command line too):
    PYTHON       the Python to build with, for example python3.12
    TORCH_INDEX  where to take torch and torchvision from, for example https://download.pytorch.org/whl/cpu
    CONSTRAINTS  the file of exact versions; empty: the newest versions that pyproject.toml allows
The last two are remembered with the environment.
"""

import errno
import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: two installs at once are not guarded there
    fcntl = None

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "stamp.json"
UNFINISHED = VENV / "unfinished"
LOG = ROOT / "build" / "install.log"

OLDEST = (3, 11)
GB = 10**9
# Measured: the environment, and beside it, until pip is done, the files it downloads. pip's cache keeps those as well.
ROOM = {"cuda": (6.6 * GB, 3.0 * GB), "cpu": (1.9 * GB, 0.5 * GB)}
PROOF = "import lib, jupyterlab, torchvision"

# What pip says -> what we say. The first pattern found in its output wins.
NO_FIT = (
    "pip found no set of packages that fits Python {python} on this machine; the exact versions in constraints.txt "
    "were tested with Python 3.11 on Linux, and `make install CONSTRAINTS=` takes the newest that fit instead"
)
NO_NETWORK = (
    "pip could not reach the package index: check the network (the first install needs it, later starts do not) "
    "and run the same command again"
)
DIAGNOSES = (
    (
        r"\[Errno 28\]|No space left on device|\[Errno 122\]|Disk quota exceeded",
        "the disk is full: the environment needs about {room:.0f} GB in {venv}; make room, or take the small PyTorch "
        "without CUDA: make install TORCH_INDEX=https://download.pytorch.org/whl/cpu",
    ),
    (r"ResolutionImpossible|conflicting dependencies", NO_FIT),
    (
        r"NewConnectionError|Failed to establish a new connection|NameResolutionError|name resolution|ConnectTimeout"
        r"|ConnectionError|Connection refused|Network is unreachable|Read timed out|ReadTimeoutError|ProxyError"
        r"|SSLError|IncompleteRead|Connection broken",
        NO_NETWORK,
    ),
    # Without a network, too, but then the lines above have been found: what builds the course could not be fetched.
    (r"No matching distribution found|Failed to build|metadata-generation-failed", NO_FIT),
    (r"No module named pip", "the environment in {venv} has no pip: remove it with `make clean` and run this again"),
)


class Stop(Exception):
    """The build cannot go on; the text is the sentence for the user."""


class OutOfReach(Stop):
    """So it is because the package index cannot be reached."""


def wanted_settings(said: dict[str, str], python: str) -> dict[str, str]:
    """The stamp of an up-to-date environment on `python` ("3.11"); choices not made now are those `said` before."""
    constraints = os.environ.get("CONSTRAINTS", said.get("constraints", "constraints.txt"))
    kernels = sorted((ROOT / "kernels").rglob("*.json"))
    sources = [ROOT / "pyproject.toml", *kernels, ROOT / "tools" / "jupyterlab.json"]
    if constraints:
        sources.append(ROOT / constraints)
    digest = hashlib.sha256()
    for source in sources:
        if not source.is_file():
            raise Stop(f"{source} is missing: the checkout is not complete, or CONSTRAINTS names no file")
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return {
        "checkout": str(ROOT),
        "python": python,
        "torch_index": os.environ.get("TORCH_INDEX", said.get("torch_index", "")),
        "constraints": constraints,
        "sources": digest.hexdigest(),
    }


def read(file: Path) -> dict[str, str]:
    """What a stamp or a mark says; empty if there is none that can be read."""
    try:
        stamp = json.loads(file.read_text("utf-8"))
        return stamp if isinstance(stamp, dict) else {}
    except (OSError, ValueError):
        return {}


def running_python() -> str | None:
    """The version ("3.11") of the environment's Python, or None where there is none or it does not start."""
    command = [PYTHON, "-c", "import sys, encodings; print('%d.%d' % sys.version_info[:2])"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() if found.returncode == 0 else None


def version(text: str) -> tuple[int, ...]:
    """ "3.11" -> (3, 11)"""
    return tuple(int(number) for number in text.split("."))


def state() -> tuple[bool, bool, dict[str, str]]:
    """(up to date, may be updated in place, the stamp that it should have)."""
    stamp, python = read(STAMP), running_python()
    mine = "%d.%d" % sys.version_info[:2]
    asked = mine if os.environ.get("PYTHON") else python
    if python is not None and python == asked and not UNFINISHED.exists() and version(python) >= OLDEST:
        wanted = wanted_settings(stamp, python)
        # An environment without a stamp was made by hand: it is taken over.
        kept = all(stamp.get(name, wanted[name]) == wanted[name] for name in ("checkout", "python", "torch_index"))
        if kept:
            return stamp == wanted, True, wanted
    return False, False, wanted_settings(stamp or read(UNFINISHED), mine)


def clean_environment() -> dict[str, str]:
    """This process's environment variables without those that would lead the environment's Python or pip astray."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__")}
    return kept | {"PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def room_needed(torch_index: str) -> tuple[float, float]:
    """Bytes of the finished environment, and of the downloads that lie beside it while it is built."""
    cuda = sys.platform == "linux" and not torch_index.rstrip("/").endswith("cpu")
    return ROOM["cuda" if cuda else "cpu"]


def check_room(torch_index: str) -> bool:
    """Refuse to begin a build that the disk cannot hold; return whether there is room for pip's cache as well."""
    environment, wheels = room_needed(torch_index)
    free = shutil.disk_usage(VENV).free
    if free < environment + wheels:
        small = "; PyTorch without CUDA needs far less: make install TORCH_INDEX=https://download.pytorch.org/whl/cpu"
        advice = small if environment > 3 * GB else ""
        raise Stop(
            f"not enough room on the disk: the environment needs {environment / GB:.1f} GB, and {wheels / GB:.1f} GB "
            f"more while it is built, but {VENV} has {free / GB:.1f} GB free{advice}"
        )
    home = Path(os.environ.get("PIP_CACHE_DIR") or os.path.expanduser("~"))
    while not home.exists():
        home = home.parent
    shared = os.stat(home).st_dev == os.stat(VENV).st_dev
    return shutil.disk_usage(home).free > wheels + (environment + wheels if shared else GB)


def empty(folder: Path) -> None:
    """Remove what is in the folder but the mark, and not the folder, which may be a link to a larger disk."""
    for entry in folder.iterdir():
        if entry == UNFINISHED:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def make_venv() -> None:
    """A virtual environment with pip in it. The mark in the folder stays."""
    base = getattr(sys, "_base_executable", None) or sys.executable
    trouble = Stop(
        f"{base} cannot make virtual environments: on Debian and Ubuntu, install the missing part with `sudo apt "
        "install python3-venv`; elsewhere, install a Python that has its venv and ensurepip modules"
    )
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise trouble
    made = subprocess.run([base, "-m", "venv", VENV], capture_output=True, text=True, env=clean_environment())
    if made.returncode:
        LOG.write_text(made.stdout + made.stderr, "utf-8")
        if re.search(DIAGNOSES[0][0], made.stdout + made.stderr):
            raise Stop(explain(made.stdout + made.stderr, ""))
        raise trouble


def explain(output: str, torch_index: str) -> str:
    """pip's output as one sentence."""
    facts = {"room": sum(room_needed(torch_index)) / GB, "venv": VENV, "python": "%d.%d" % sys.version_info[:2]}
    for pattern, sentence in DIAGNOSES:
        if re.search(pattern, output):
            return sentence.format(**facts) + f" (pip's own words: {LOG})"
    errors = [line.strip() for line in output.splitlines() if line.lower().startswith("error")] or ["no reason given"]
    return f"pip stopped: {errors[-1]} (pip's own words: {LOG})"


def progress(line: str) -> None:
    """Of pip's many lines, show those a person waits for: the big downloads, and that installing has begun."""
    download = re.match(r"\s*(?:Downloading|Using cached) ([\w.]+)-([\w.+!]+)-\S+\.whl \((\d+\.\d [MG]B)\)", line)
    if download and (download[3].endswith("GB") or float(download[3].split()[0]) >= 10):
        print(f"  {download[1]} {download[2]}: {download[3]}", flush=True)
    elif line.startswith("Installing collected packages:"):
        print(f"  unpacking {line.count(',') + 1} packages ...", flush=True)


def pip(arguments: list[str], environment: dict[str, str], wanted: dict[str, str], lock: int) -> None:
    """Run `pip install`, its words to the log; a failure becomes a sentence."""
    command = [str(PYTHON), "-m", "pip", "install", "--no-input", *arguments]
    if wanted["constraints"]:
        command += ["--constraint", wanted["constraints"]]
    lines = []
    with (
        LOG.open("a", encoding="utf-8") as log,
        # The child holds the lock too: should we be killed, the next install waits until pip has gone.
        subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, errors="replace", pass_fds=[lock] if fcntl else [],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as process,
    ):  # fmt: skip
        try:
            for line in process.stdout:
                log.write(line)
                lines.append(line)
                progress(line)
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        sentence = explain("".join(lines), wanted["torch_index"])
        raise (OutOfReach if sentence.startswith(NO_NETWORK) else Stop)(sentence)


def build(in_place: bool, wanted: dict[str, str], lock: int) -> None:
    """Bring the environment to what `wanted` says and stamp it."""
    LOG.write_text("")
    VENV.mkdir(exist_ok=True)
    environment = clean_environment()
    old_stamp = STAMP.read_bytes() if in_place and STAMP.exists() else None
    UNFINISHED.write_text(json.dumps(wanted), "utf-8")
    STAMP.unlink(missing_ok=True)
    if in_place:
        print(f"Updating the environment in {VENV} ...", flush=True)
    else:
        empty(VENV)
        if not check_room(wanted["torch_index"]):
            environment.setdefault("PIP_NO_CACHE_DIR", "1")
        gigabytes = room_needed(wanted["torch_index"])[0] / GB
        print(f"Building the environment in {VENV} (about {gigabytes:.0f} GB; some minutes) ...", flush=True)
        make_venv()
    downloads = VENV / "downloads"  # not in /tmp, which is often a small part of the memory
    downloads.mkdir(exist_ok=True)
    environment.setdefault("TMPDIR", str(downloads))
    try:
        if wanted["torch_index"]:
            listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
            torch = [requirement for requirement in listed if re.match(r"torch(vision)?\b", requirement)]
            pip(["--no-deps", "--index-url", wanted["torch_index"], *torch], environment, wanted, lock)
        pip(["--editable", ".[lab,dev]"], environment, wanted, lock)
    except (Stop, KeyboardInterrupt) as trouble:
        if in_place and "Installing collected packages:" not in LOG.read_text("utf-8"):
            # pip stopped before it touched anything: the environment is as good as it was.
            if old_stamp is not None:
                STAMP.write_bytes(old_stamp)
            UNFINISHED.unlink()
            if old_stamp is not None and isinstance(trouble, OutOfReach) and holds_all_that_is_listed():
                print(f"make install: the environment is used without its update: {trouble}.", file=sys.stderr)
                return
        raise
    finally:
        shutil.rmtree(downloads, ignore_errors=True)
    prove()
    STAMP.with_suffix(".new").write_text(json.dumps(wanted, indent=1), "utf-8")
    STAMP.with_suffix(".new").replace(STAMP)
    UNFINISHED.unlink()
    print("The environment is ready.", flush=True)


def holds_all_that_is_listed() -> bool:
    """Whether pip finds each package of pyproject.toml in the environment, in a version that is allowed there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    listed = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    command = [PYTHON, "-m", "pip", "install", "--dry-run", "--no-index", *listed]
    if not listed:
        return True
    found = subprocess.run(command, capture_output=True, text=True, env=clean_environment())
    return found.returncode == 0 and "Would install" not in found.stdout  # from a folder of wheels


def prove() -> None:
    """Start what was installed once, before anybody relies on it."""
    proof = subprocess.run([PYTHON, "-c", PROOF], cwd=ROOT, capture_output=True, text=True, env=clean_environment())
    if proof.returncode:
        with LOG.open("a", encoding="utf-8") as log:
            log.write(proof.stderr)
        reason = (proof.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Stop(f"the packages were installed but do not start: {reason} (more in {LOG})")


@contextmanager
def only_one() -> Iterator[int]:
    """Hold the lock that lets one install at a time work on the folder; yields its file descriptor."""
    LOG.parent.mkdir(exist_ok=True)
    with (LOG.parent / "install.lock").open("w") as file:
        if fcntl:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("Another install is at work in this folder; waiting for it ...", flush=True)
                fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    signal.signal(signal.SIGTERM, interrupted)
    try:
        if state()[0]:
            return 0
        with only_one() as lock:
            up_to_date, usable, wanted = state()
            if not up_to_date:
                build(usable, wanted, lock)
        return 0
    except KeyboardInterrupt:
        sentence, code = "interrupted; the environment is not finished, and the next `make install` sees to it", 130
    except Stop as stop:
        sentence, code = str(stop), 1
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        sentence, code = explain("[Errno 28]", "") if full else f"{error.strerror}: {error.filename}", 1
    print(f"make install: {sentence}.", file=sys.stderr)
    return code
