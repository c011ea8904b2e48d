"""What all tests share: the tools can be imported, and nothing reaches the network."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
for folder in (ROOT / "tools", ROOT / "tests" / "no_network"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from loopback_only import block_network  # noqa: E402  (its folder has just joined the path)

block_network()
