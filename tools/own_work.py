"""A learner works in `notebooks/`. The lanes test the course, so they take git's version of what somebody worked in."""

import shutil
import subprocess
from pathlib import Path

from build_notebooks import as_built, lesson_paths


def own_work(root: Path) -> list[Path]:
    """The notebooks in `notebooks/` that are not as the builder wrote them: worked in, run again, or a person's own."""
    return [path for path in sorted((root / "notebooks").glob("*.ipynb")) if not as_built(path)]


def set_aside(root: Path, folder: Path) -> list[str]:
    """Fill `folder` with the learner's notebooks to test: git's version of those in `own_work`, the others as they are.

    Returns:
        A line about each of `own_work`; without any, nothing is copied. Nothing in `notebooks/` is touched.
    """
    theirs = own_work(root)
    if not theirs:
        return []
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    said = []
    lessons = {f"{source.stem}.ipynb" for source in lesson_paths(root)}
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        name = path.relative_to(root).as_posix()
        if path not in theirs:
            shutil.copy(path, folder)
        elif path.name not in lessons:
            said.append(f"{name} is no notebook of the course: it is left alone")
        else:
            held = subprocess.run(["git", "show", f"HEAD:./{name}"], cwd=root, capture_output=True)
            if held.returncode == 0:
                (folder / path.name).write_bytes(held.stdout)
                said.append(f"{name} holds somebody's work or another run: git's version of it is tested")
            else:
                shutil.copy(path, folder)
                said.append(f"{name} holds somebody's work or another run, and git has no other version: it is tested")
    return said
