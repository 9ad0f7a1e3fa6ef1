"""Third-party errors, shortened to one line for a table."""

import re

MAX_LENGTH = 240


def in_one_line(error):
    """Returns type and message of an error, without paths of this machine.

    Compilers put a whole traceback into an error's message, and Keras appends the
    arguments of the call.
    """
    name = type(error).__name__
    text = re.sub(r"\x1b\[\d*m", "", str(error))
    # The last traceback entry is a path, a line of code, and then the message.
    *_, text = re.split(r'(?m)^\s*File ".*\n.*\n', text)
    text = text.partition("Arguments received by")[0]
    text = re.sub(r"Exception encountered when calling \S+\(\)\.", "", text)
    text = re.sub(r"(?<![\w.])/(?:[^\s/]+/)+", "", text)
    text = " ".join(text.split()).removeprefix(f"{name}:").strip()
    line = f"{name}: {text}"
    return line if len(line) <= MAX_LENGTH else line[: MAX_LENGTH - 3] + "..."
