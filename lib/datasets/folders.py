"""Where the course keeps what one machine downloads, renders or remembers."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def data_dir() -> Path:
    """The folder for downloads and caches: `data/` of this repository, or the folder named by `COURSE_DATA`."""
    folder = Path(os.environ.get("COURSE_DATA") or REPOSITORY / "data")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
