"""Writing files so that a reader, or a power cut, never meets half of one."""

import os
import secrets
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Puts a file in place in one step, readable by whom the system's umask lets read it.

    Args:
        path: its folder is there; a file of that name is replaced.
        content: all of it.

    Raises:
        OSError: it could not be written; then the old file is still there.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with open(beside, "xb") as new:
            new.write(content)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
