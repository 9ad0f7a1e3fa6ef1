"""Files that are there whole or not at all."""

import contextlib
import os
import tempfile
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Write a text file that is there either whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The same folder: a rename is atomic only within one file system.
    handle, temporary = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"
    )
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes files that only the owner reads
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    # The file is there; only that it outlives a power cut is not yet certain, and
    # not every file system lets folders be brought to the disk.
    with contextlib.suppress(OSError):
        sync(path.parent)


def remove_leftovers(path: Path) -> None:
    """Remove what writers of this file left that were killed at it.

    Only for whoever knows that nobody is writing the file.
    """
    for temporary in path.parent.glob(f".{path.name}.*.tmp"):
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk: for a power cut."""
    # Windows writes out only what is opened for writing, and opens no folders.
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_writable(*directories: Path) -> None:
    """Find out before hours of training, not after.

    Raises:
        OSError: If a folder cannot be made or written to.
    """
    for directory in directories:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory) as file:
                # A full disk still has names to give away.
                file.write(bytes(4096))
                file.flush()
        except OSError as error:
            raise OSError(
                f"Cannot write to {directory} ({error.strerror}). Nothing was "
                "trained; choose another folder for the results."
            ) from None
