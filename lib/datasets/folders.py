"""Where the course keeps what one machine downloads, renders or remembers."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def data_dir() -> Path:
    """The folder for downloads and caches: `data/` of this repository, or the folder named by `COURSE_DATA`.

    `~` in it is the home folder. It need not be there: who writes into it makes it.
    """
    named = os.environ.get("COURSE_DATA")
    return Path(named).expanduser() if named else REPOSITORY / "data"
