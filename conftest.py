"""`pytest --nbval` and `--nbval-lax`, called from any folder, compare the course's notebooks as `make test` does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "tools"))

from course_nbval import pytest_collect_file  # noqa: E402, F401  (its folder has just joined the path)
