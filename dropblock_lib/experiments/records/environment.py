"""Machine, versions and commit of a run, without names or paths."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np

import dropblock_lib


def hardware() -> dict:
    """The processor, the cores available to this process, and the GPUs."""
    return {"cpu": _cpu_model(), "cores": _cores(), "gpus": _gpus()}


def versions() -> dict:
    """Versions of everything that affects the numbers."""
    backend = keras.backend.backend()
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "keras": keras.__version__,
        # Keras has imported the backend.
        backend: str(sys.modules[backend].__version__),
        "numpy": np.__version__,
        "dropblock_lib": dropblock_lib.__version__,
    }


def git_state() -> dict | None:
    """The commit, and whether the tree is clean except for `results`.

    Returns `None` if git does not track the package.
    """
    package = Path(__file__).resolve().parents[2]
    # The package may be installed inside another project's tree.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit = _git(package, "rev-parse", "HEAD")
    changes = _git(
        package.parent, "status", "--porcelain", "--", ".", ":(exclude)results"
    )
    if commit is None or changes is None:
        return None
    return {"commit": commit, "clean": not changes}


def _git(directory: Path, *arguments: str) -> str | None:
    return _output("git", "-C", str(directory), *arguments)


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def has_gpu() -> bool:
    """Whether the Keras backend sees a GPU."""
    return bool(_devices("gpu"))


def _devices(kind: str) -> list:
    try:
        return keras.distribution.list_devices(kind)
    except Exception:  # backends raise different errors if there is no such device
        return []


def _gpus() -> list[str]:
    devices = _devices("gpu")
    if not devices:
        return []
    names = _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return names.splitlines() if names else list(devices)
