"""JSON files, written completely or not at all, and checked when read."""

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def read_json(path: Path, what: str, error: type[ValueError]):
    """Reads a JSON file, or raises `error` with the path and `what` it should be."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    # `ValueError` for other text or a number that is too long, and `RecursionError`
    # for lists that are nested too deeply.
    except (ValueError, RecursionError) as reason:
        raise error(f"{path} is not a {what}: it is not JSON ({reason}).") from None


def check_sections(
    document, schema: int, sections: dict, name: str, reject: Callable
) -> None:
    """Checks a document's schema, sections (key -> type) and name.

    `reject` is called with the reason, and raises.
    """
    if not isinstance(document, dict):
        reject("it is not a JSON object")
    found = document.get("schema")
    if found != schema:
        is_newer = isinstance(found, int) and found > schema
        hint = "; a newer version of dropblock_lib wrote it" if is_newer else ""
        reject(f"expected schema {schema}, found {found!r}{hint}")
    for section, kind in sections.items():
        if section not in document:
            reject(f"`{section}` is missing")
        if not isinstance(document[section], kind):
            reject(f"`{section}` is {document[section]!r}")
    if document["name"] != name:
        reject(f"its name is {document['name']!r}")


def write_atomically(path: Path, text: str, replace: bool = True) -> None:
    """Writes a text file completely or not at all.

    Args:
        path: Path of the file.
        text: Its content.
        replace: Whether to replace an existing file.

    Raises:
        FileExistsError: If the file exists and must not be replaced.
        OSError: If the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder: a rename is atomic only within one file system.
    handle, temporary = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"
    )
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes files that only the owner can read
        if replace:
            os.replace(temporary, path)
        else:
            _rename_if_free(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    # The file is complete even if its folder cannot be synced, as on some file systems.
    with contextlib.suppress(OSError):
        sync(path.parent)


def _rename_if_free(temporary, path):
    try:
        # Fails if the file exists, even if another process has just written it.
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if path.exists():
            raise FileExistsError(errno.EEXIST, "File exists", str(path)) from None
        os.replace(temporary, path)
    else:
        os.unlink(temporary)


def remove_leftovers(path: Path) -> None:
    """Removes temporary files of killed writers. No process may be writing the file."""
    for temporary in path.parent.glob(f".{path.name}.*.tmp"):
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """fsync a file or a folder."""
    # Windows syncs only files opened for writing, and opens no folders.
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_writable(*directories: Path) -> None:
    """Raises an `OSError` before hours of training if a folder is not writable."""
    for directory in directories:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory) as file:
                # On a full disk, an empty file can still be created.
                file.write(bytes(4096))
                file.flush()
        except OSError as error:
            raise OSError(
                f"Cannot write to {directory} ({error.strerror}). Nothing was "
                "trained; choose another folder for the results."
            ) from None
