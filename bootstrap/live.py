"""How far a command is: a bar on a terminal, a line of the log now and then anywhere else; both on standard error.

Standard output is for results. A step that tells how much there is has a bar with its rate and the time left; one that
does not has a spinner.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskID
from rich.text import Text

from bootstrap.terminal import line
from conf.logs import fields, logger
from conf.printable import printable
from conf.redaction import redacted
from streaming.totals import Totals, duration

# A step that takes this long is told of in the log, and again from time to time; in seconds.
_SHORT, _EVERY = 2.0, 10.0
_LOOK_EVERY = 0.5


class Live:
    """Shows steps and totals; safe to be told by several threads.

    Parameters
    ----------
    console
        Where the bar goes, if it is a terminal.
    monotonic
        The clock, in seconds.
    """

    def __init__(self, console: Console, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._bar = _Bar(console) if console.is_terminal else None
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._step: dict[str, str | int] = {}
        self._due = 0.0

    def say(self, text: str, done: float = 0, total: float = 0) -> None:
        """Show a step, and how far it is; see `conf.saying.Say`."""
        with self._lock:
            if self._bar:
                self._bar.show(text, text, done, total)
                return
            if text != self._step.get("step"):
                self._due = self._monotonic() + _SHORT
            self._step = {"step": text} | ({"done": round(done), "total": round(total)} if total else {})

    def totals(self, totals: Totals) -> None:
        """Show where a stream stands; the log has its micro-batches anyway."""
        with self._lock:
            self._step = {}
            if self._bar:
                self._bar.show("stream", line(totals), 0, 0)

    def draining(self, totals: Totals) -> None:
        """Show where a stream stands that is to end when nothing is left."""
        made = sum(each.outcomes for each in totals.featurizers.values())
        with self._lock:
            self._step = {}
            if self._bar:
                self._bar.show("stream", line(totals), made, made + totals.backlog)

    def look(self) -> None:
        """Log the step that takes long, if it is time to."""
        with self._lock:
            if self._step and self._monotonic() >= self._due:
                self._due = self._monotonic() + _EVERY
                logger().info("progress", extra=fields(**self._step))

    @contextmanager
    def running(self) -> Iterator["Live"]:
        """Show the bar, or write the log, for the length of a `with` block."""
        if self._bar:
            with self._bar.progress:
                yield self
            return
        ended = threading.Event()
        looking = threading.Thread(target=self._keep_looking, args=(ended,), daemon=True)
        looking.start()
        try:
            yield self
        finally:
            ended.set()
            looking.join()

    def _keep_looking(self, ended: threading.Event) -> None:
        while not ended.wait(_LOOK_EVERY):
            self.look()


@contextmanager
def live() -> Iterator[Live]:
    """Yield what shows progress."""
    with Live(Console(highlight=False, stderr=True)).running() as shown:
        yield shown


class _Bar:
    """One line of a terminal that is written over and over."""

    def __init__(self, console: Console) -> None:
        columns = (SpinnerColumn(), _Step(), _OfKnownLength(BarColumn(bar_width=24)), _Far())
        self.progress = Progress(*columns, console=console, transient=True)
        self._task: TaskID | None = None
        self._step = ""

    def show(self, step: str, text: str, done: float, total: float) -> None:
        shown = redacted(text)
        if self._task is None or step != self._step:
            if self._task is not None:
                self.progress.remove_task(self._task)
            self._step, self._task = step, self.progress.add_task(shown, total=total or None, completed=int(done))
        else:
            self.progress.update(self._task, description=shown, completed=done, total=total or None)


class _Step(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(printable(task.description))


class _OfKnownLength(ProgressColumn):
    """A column that is shown once it is known how much there is."""

    def __init__(self, column: ProgressColumn) -> None:
        self._column = column
        super().__init__()

    def render(self, task: Task) -> Text:
        return self._column.render(task) if task.total else Text()  # type: ignore[return-value]


class _Far(ProgressColumn):
    def render(self, task: Task) -> Text:
        if not task.total:
            return Text()
        far = [f"{100 * task.completed / task.total:.0f} %"]
        if task.speed and not task.finished:
            far.append(f"{task.speed:,.0f}/s" if task.speed >= 1 else f"{task.speed:.2f}/s")
        if task.time_remaining:
            far.append(f"{duration(task.time_remaining)} left")
        return Text(" · ".join(far))
