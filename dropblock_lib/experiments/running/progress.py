"""Progress of a grid of runs: bars in a terminal, a line in a notebook, or a log."""

import sys
import time
from typing import TextIO


def open_progress(total_runs: int, stream: TextIO | None = None) -> "LineProgress":
    """Creates a context manager that shows the progress of runs.

    In a terminal it shows bars, in a notebook one line per run that is overwritten, and
    elsewhere one line per epoch.

    Args:
        total_runs: Number of runs that will be started or skipped.
        stream: Where to write; standard output by default.

    Returns:
        A `LineProgress`.
    """
    stream = stream or sys.stdout
    if _in_notebook():
        return NotebookProgress(total_runs, stream)
    if stream is not None and stream.isatty():
        return BarProgress(total_runs, stream)
    return LineProgress(total_runs, stream)


class LineProgress:
    """One line per epoch, for log files."""

    def __init__(self, total_runs, stream):
        self.total_runs = total_runs
        self.stream = stream
        self.run_index = 0
        self.label = ""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return None

    def say(self, text):
        """Shows a line that is not overwritten."""
        print(text, file=self.stream, flush=True)

    def start_run(self, name, epochs, steps, first_epoch=0):
        """Called when a run starts, or resumes at `first_epoch`."""
        self.run_index += 1
        self.label = f"[{self.run_index}/{self.total_runs}] {name}"
        self.epochs = epochs
        self.first_epoch = first_epoch
        self.started = time.monotonic()
        if first_epoch:
            self.say(f"{self.label}: resuming after epoch {first_epoch}/{epochs}")

    def step(self):
        """Called after a training step."""

    def end_epoch(self, epoch, logs):
        """Called after an epoch, counted from 0."""
        self._show(f"{self.label}: {self._describe(epoch, logs)}")

    def end_run(self, summary):
        """Called after a run."""
        self._show(f"{self.label}: {summary}")

    def skip_run(self, name, why):
        """Called for a run that is not needed."""
        self.run_index += 1
        self.say(f"[{self.run_index}/{self.total_runs}] {name}: skipped, {why}")

    def _show(self, text):
        """Shows the state of the run, which the next call may overwrite."""
        self.say(text)

    def _describe(self, epoch, logs):
        values = ", ".join(
            f"{key} {logs[key]:.4f}"
            for key in ("loss", "accuracy", "val_loss", "val_accuracy")
            if logs.get(key) is not None
        )
        done = epoch + 1 - self.first_epoch
        seconds = (time.monotonic() - self.started) / done
        left = seconds * (self.epochs - epoch - 1)
        return f"epoch {epoch + 1}/{self.epochs}, {values}, {clock(left)} left"


class NotebookProgress(LineProgress):
    """One line per run, overwritten."""

    def start_run(self, name, epochs, steps, first_epoch=0):
        self.handle = None
        super().start_run(name, epochs, steps, first_epoch)

    def _show(self, text):
        from IPython.display import display

        line = {"text/plain": text}
        if self.handle is None:
            self.handle = display(line, raw=True, display_id=True)
        else:
            self.handle.update(line, raw=True)


class BarProgress(LineProgress):
    """Bars for the runs, the epochs of a run and the steps of an epoch."""

    def __init__(self, total_runs, stream):
        super().__init__(total_runs, stream)
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self.bars = Progress(
            TextColumn("{task.description:6}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(file=stream),
        )

    def __enter__(self):
        self.bars.start()
        self.runs = self.bars.add_task("runs", total=self.total_runs, note="")
        self.epoch_bar = self.bars.add_task("epochs", total=None, note="")
        self.steps = self.bars.add_task("steps", total=None, note="")
        return self

    def __exit__(self, *exception):
        self.bars.stop()

    def say(self, text):
        self.bars.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def start_run(self, name, epochs, steps, first_epoch=0):
        super().start_run(name, epochs, steps, first_epoch)
        self.bars.update(self.runs, note=name)
        self.bars.reset(self.epoch_bar, total=epochs, completed=first_epoch, note="")
        self.bars.reset(self.steps, total=steps)

    def step(self):
        self.bars.advance(self.steps)

    def end_epoch(self, epoch, logs):
        best = "val_accuracy" if "val_accuracy" in logs else "val_loss"
        value = logs[best]
        note = "" if value is None else f"{best} {value:.4f}"
        self.bars.update(self.epoch_bar, completed=epoch + 1, note=note)
        # Counts parts of runs, so that the remaining time is estimated early.
        part = (epoch + 1) / self.epochs
        self.bars.update(self.runs, completed=self.run_index - 1 + part)
        if epoch + 1 < self.epochs:
            self.bars.reset(self.steps)

    def end_run(self, summary):
        super().end_run(summary)
        self.bars.update(self.runs, completed=self.run_index)

    def skip_run(self, name, why):
        super().skip_run(name, why)
        self.bars.update(self.runs, completed=self.run_index)


def _in_notebook() -> bool:
    # IPython is not imported here: unless it is loaded, there is no shell.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


def clock(seconds: float) -> str:
    """Seconds as hours, minutes and seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
