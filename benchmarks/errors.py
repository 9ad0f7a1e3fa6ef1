"""Errors of other people's code, in a line that can be shown."""

import re

LONGEST = 240


def in_one_line(error):
    """What went wrong, without the places in files where it did.

    Compilers put a whole traceback into an error's message, with paths of this
    machine, and Keras puts the arguments of the call behind it.
    """
    text = re.sub(r"\x1b\[\d*m", "", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    places = [i for i, line in enumerate(lines) if line.startswith('File "')]
    if places:
        # The place, a line of code, and then at last the message.
        lines = lines[places[-1] + 2 :]
    message = " ".join(lines).partition("Arguments received by")[0]
    message = re.sub(r"Exception encountered when calling \S+\(\)\.", "", message)
    message = re.sub(r"(?<![\w.])/(?:[^\s/]+/)+", "", message)
    name = type(error).__name__
    message = " ".join(message.split()).removeprefix(f"{name}:").strip()
    shown = f"{name}: {message}"
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 3] + "..."
