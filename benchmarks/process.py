"""The surroundings of a process that is timed, the same for every contestant."""

import os
import platform
import sys

# glibc gives large blocks back to the system and takes them anew at every call, which
# costs as much as what is to be measured, and varies. So it keeps up to 8 GiB.
SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": "8589934592",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    # TensorFlow leaves oneDNN off on some processors, where it is five times as fast.
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


def environment():
    """The variables of a process that is timed."""
    return {**os.environ, **SETTINGS}


def stated():
    """What a benchmark's file says of its surroundings."""
    return {name: os.environ.get(name) for name in SETTINGS}


def restart_in_them():
    """Starts this process anew where they are not set; libraries read them once."""
    # Elsewhere the variables mean nothing, and a process cannot replace itself.
    if platform.libc_ver()[0] == "glibc" and stated() != SETTINGS:
        arguments = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, arguments, environment())
