"""Environment variables of a timed process, the same for every contestant."""

import os
import platform
import sys

SETTINGS = {
    # By default, glibc returns large blocks to the system and requests them again in
    # every call, which takes as long as the layers do, and varies. It keeps 8 GiB here.
    "MALLOC_MMAP_THRESHOLD_": "8589934592",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    # On some processors, TensorFlow disables oneDNN, which is five times as fast.
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


def current():
    """The values that a benchmark's file records."""
    return {name: os.environ.get(name) for name in SETTINGS}


def restart_with_settings():
    """Restart this process with `SETTINGS`, because libraries read them only once."""
    # Other systems ignore the variables for glibc, and Windows has no `exec`.
    if platform.libc_ver()[0] == "glibc" and current() != SETTINGS:
        os.environ.update(SETTINGS)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
