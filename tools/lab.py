"""Start JupyterLab on the course: `python tools/lab.py [options of jupyter lab]`.

It listens on this machine alone unless an option says otherwise, and prints the address to open.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FIRST = "notebooks/00_start_here.ipynb"


def arguments(given: list[str], environment: dict[str, str], root_user: bool) -> list[str]:
    """The options of JupyterLab: ours first, then the `given` ones, because the last one said wins."""
    options = ["--ServerApp.root_dir=" + str(ROOT), "--LabApp.default_url=/lab/tree/" + FIRST, "--log-level=WARN"]
    if root_user:  # in a container; JupyterLab refuses otherwise
        options.append("--allow-root")
    no_display = sys.platform == "linux" and not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))
    if no_display and not environment.get("BROWSER"):
        options.append("--no-browser")
    return [*options, *given]


if __name__ == "__main__":
    from jupyterlab.labapp import main

    os.chdir(ROOT)
    sys.exit(main(arguments(sys.argv[1:], dict(os.environ), hasattr(os, "geteuid") and os.geteuid() == 0)))
