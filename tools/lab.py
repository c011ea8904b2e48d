"""Start JupyterLab on the course: `python tools/lab.py [options of jupyter lab]`.

It listens on this machine alone unless an option says otherwise, and prints the address to open. One Ctrl-C stops it.
"""

import argparse
import errno
import os
import socket
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FIRST = "notebooks/00_start_here.ipynb"


def arguments(given: list[str], environment: dict[str, str], root_user: bool) -> list[str]:
    """The options of JupyterLab: ours first, then the `given` ones, because the last one said wins."""
    options = ["--ServerApp.root_dir=" + str(ROOT), "--LabApp.default_url=/lab/tree/" + FIRST, "--log-level=WARN"]
    options.append("--ServerApp.answer_yes=True")  # Ctrl-C is not asked about
    if root_user:  # in a container; JupyterLab refuses otherwise
        options.append("--allow-root")
    no_display = sys.platform == "linux" and not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))
    if no_display and not environment.get("BROWSER"):
        options.append("--no-browser")
    return [*options, *given]


def about_port(given: list[str]) -> str:
    """What to say of the port that the `given` options name: JupyterLab leaves a taken one without a word."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--port", type=int, default=8888)
    port = parser.parse_known_args(given)[0].port
    try:
        socket.create_server(("localhost", port)).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return f"Port {port} is taken: JupyterLab looks for another one. The address that it prints holds."
    return ""


if __name__ == "__main__":
    from jupyterlab.labapp import main

    if said := about_port(sys.argv[1:]):
        print(said, file=sys.stderr, flush=True)
    os.chdir(ROOT)
    sys.exit(main(arguments(sys.argv[1:], dict(os.environ), hasattr(os, "geteuid") and os.geteuid() == 0)))
