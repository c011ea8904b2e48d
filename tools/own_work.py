"""A learner's own work among the notebooks is no fault: the lanes test what git holds instead, and say so.

A notebook that differs from git's and is not as the builder wrote it was run, edited or deleted by somebody. While the
lanes run, git's version of it lies in a folder of its own, named by `COURSE_AS_IN_GIT`; the learner's stays as it is.
What the builder has just written is tested as it lies there, and so is everything where there is no git.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from build_notebooks import as_built, lesson_paths, notebook_path

AS_IN_GIT = "COURSE_AS_IN_GIT"
FOLDERS = ("notebooks", "solutions")


def notebook_to_test(source: Path, solved: bool) -> Path:
    """The notebook of a lesson that the lanes test: git's where somebody's work lies in its place."""
    path = notebook_path(source, solved)
    folder = os.environ.get(AS_IN_GIT)
    instead = Path(folder, path.parent.name, path.name) if folder else path
    return instead if instead.exists() else path


@contextmanager
def git_for_own_work(root: Path) -> Iterator[list[str]]:
    """While this lasts, `notebook_to_test` gives git's in the place of changed ones. Yields what is to be said of it.

    Args:
        root: of the checkout. The folder with git's notebooks lies in its `build/`, so that its settings hold there.
    """
    said = [f"{path.relative_to(root)} is no lesson of the course: left alone" for path in own_copies(root)]
    (root / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="as_in_git_", dir=root / "build", ignore_cleanup_errors=True) as folder:
        for path in changed_by_hand(root):
            name = path.relative_to(root).as_posix()
            place = Path(folder, name)
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(_git(root, "show", f"HEAD:./{name}"))
            state = "was worked in" if path.exists() else "is gone"
            said.append(f"{name} {state}, which is no fault: git's version is tested instead")
        before = os.environ.get(AS_IN_GIT, "")
        os.environ[AS_IN_GIT] = folder
        try:
            yield said
        finally:
            os.environ[AS_IN_GIT] = before


def changed_by_hand(root: Path) -> list[Path]:
    """The lessons' notebooks that git holds otherwise and that are not as the builder wrote them."""
    try:
        differing = _names(_git(root, "diff", "--name-only", "--relative", "-z", "HEAD", "--", *FOLDERS))
        held = _names(_git(root, "ls-tree", "-r", "--name-only", "-z", "HEAD", "--", *FOLDERS))
    except (OSError, subprocess.CalledProcessError):
        return []  # no git, or no commit yet
    paths = [notebook_path(source, solved) for source in lesson_paths(root) for solved in (True, False)]
    suspects = [path for path in paths if path.relative_to(root).as_posix() in differing & held]
    return sorted(path for path in suspects if not as_built(path))


def own_copies(root: Path) -> list[Path]:
    """Notebooks beside the lessons that git does not hold and no source of ours explains: a learner's."""
    try:
        unknown = _names(_git(root, "ls-files", "--others", "-z", "--", *FOLDERS))
    except (OSError, subprocess.CalledProcessError):
        return []
    sources = {path.stem for path in lesson_paths(root)}
    found = [path for folder in FOLDERS for path in sorted((root / folder).glob("*.ipynb"))]
    return [path for path in found if path.relative_to(root).as_posix() in unknown and path.stem not in sources]


def _git(root: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True).stdout


def _names(listing: bytes) -> set[str]:
    return {name.decode() for name in listing.split(b"\0") if name}
