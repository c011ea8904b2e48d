"""Writing files so that a reader, or a power cut, never meets half of one."""

import os
import tempfile
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Puts a file in place in one step, readable by whom the system's umask lets read it.

    Args:
        path: its folder is there; a file of that name is replaced.
        content: all of it.

    Raises:
        OSError: it could not be written; then the old file is still there.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as new:
            new.write(content)
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    """The process's mask; the system tells it only when a new one is set."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
