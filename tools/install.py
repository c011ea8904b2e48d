"""Build the course's environment in `.venv`, or find that it is up to date. Run by every `make` target that needs it.

This file parses under every Python, so that one that is too old is answered with a sentence; the work is in
`environment.py`.
"""

import os
import sys

OLDEST = (3, 11)  # as in pyproject.toml
ENVIRONMENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, ".venv", "bin", "python")


def main():
    if sys.version_info >= OLDEST:
        from environment import main as build

        return build()
    if not os.environ.get("PYTHON") and os.path.exists(ENVIRONMENT):
        # `make install PYTHON=python3.12` was said once; from then on the environment's own Python answers.
        test = "import sys; sys.exit(sys.version_info < (%d, %d))" % OLDEST
        if os.system('"%s" -c "%s"' % (ENVIRONMENT, test)) == 0:
            os.execv(ENVIRONMENT, [ENVIRONMENT, os.path.abspath(__file__)])
    facts = OLDEST + (sys.executable,) + tuple(sys.version_info[:2])
    sys.stderr.write(
        "make install: the course needs Python %d.%d or newer, and %s is Python %d.%d; install a newer one and "
        "name it, for example `make install PYTHON=python3.12`.\n" % facts
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
