"""Environment variables of a timed process, the same for every contestant."""

import os
import platform
import sys

# By default, glibc returns large blocks to the system and requests them again in every
# call, which takes as long as the layers, and varies. With these, it keeps up to 8 GiB.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "8589934592",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
}
DEFAULT_ALLOCATOR = "--default-allocator"
SETTINGS = ALLOCATOR | {
    # On some processors, TensorFlow disables oneDNN, which is five times as fast.
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


def current():
    """Returns the values that a benchmark's file records."""
    return {name: os.environ.get(name) for name in SETTINGS}


def restart_with_settings():
    """Restarts this process with `SETTINGS`, because libraries read them only once.

    With the option `--default-allocator`, the allocator's settings are not changed.
    """
    wanted = SETTINGS
    if DEFAULT_ALLOCATOR in sys.argv:
        wanted = {k: v for k, v in SETTINGS.items() if k not in ALLOCATOR}
    # Other systems ignore the variables for glibc, and Windows has no `exec`.
    if platform.libc_ver()[0] == "glibc" and not wanted.items() <= os.environ.items():
        os.environ.update(wanted)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
