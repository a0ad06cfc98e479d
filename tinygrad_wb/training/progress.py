"""The progress bar: the epoch, the loss and metrics so far, and how many examples are learnt from in a second."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from tinygrad_wb.training.loop import Training
    from tinygrad_wb.training.measuring import Meter

__all__ = ["Progress"]

WIDTH = 78  # columns for words; the bar takes what they leave of the line
WAY = 40  # columns for how batches are computed, and why
EVERY = 0.1  # seconds between looks at the screen: a batch is far quicker than an eye


class Progress:
    """One bar over all epochs, drawn by tqdm; with ``show`` False, nothing."""

    def __init__(self, epochs: int, rows: int, show: bool) -> None:
        self.epochs, self.rows = epochs, rows
        self.bar: Any = None
        self.next_look = 0.0
        self.shown: dict[str, float] = {}
        self.training: Training | None = None
        if show:
            from tqdm.auto import tqdm

            layout = "{desc} |{bar}|"  # the bar takes what the words leave of the line
            self.bar = tqdm(total=epochs * rows, bar_format=layout, dynamic_ncols=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def batch(self, training: Training, meter: Meter) -> None:
        """A batch is done; now and then, show how it stands."""
        self.training = training
        if self.bar is not None and time.perf_counter() >= self.next_look:
            self.next_look = time.perf_counter() + EVERY
            self._show(training.epoch, meter.rows, meter.found())

    def epoch(self, epoch: int, measured: dict[str, Any]) -> None:
        """An epoch is done: show what it measured."""
        if self.bar is not None:
            self._show(epoch, self.rows, measured)

    def _show(self, epoch: int, rows: int, measured: dict[str, Any]) -> None:
        # What only a whole epoch measures stays until the next; a matrix is no word.
        self.shown |= {name: x for name, x in measured.items() if isinstance(x, float)}
        bar = self.bar
        bar.n = (epoch - 1) * self.rows + rows
        words = []
        for name in [name for name in self.shown if not name.startswith("val_")]:
            unseen = f" (val {self._number(f'val_{name}')})" if f"val_{name}" in self.shown else ""
            words.append(f"{name} {self._number(name)}{unseen}")
        speed = bar.n / max(bar.format_dict["elapsed"], 1e-9)
        rows_per_second = f"{speed / 1000:.0f}k" if speed >= 10_000 else f"{speed:.0f}"
        way = self.training.way if self.training is not None else ""
        way = way if len(way) <= WAY else f"{way[: WAY - 1]}…"
        head, how = f"epoch {epoch}/{self.epochs}", f" {way}" if way else ""
        line = f"{head} {', '.join([*words, f'{rows_per_second} rows/s'])}{how}"
        if len(line) > WIDTH:
            line = f"{head}{how} {', '.join(words)}"
        while len(line) > WIDTH and len(words) > 2:  # the loss and the first metric have room, and the rest is history
            del words[-1]
            line = f"{head}{how} {', '.join(words)}, …"
        bar.set_description_str(line, refresh=False)
        bar.refresh()

    def _number(self, name: str) -> str:
        number = self.shown[name]
        return f"{number:.1%}" if name.endswith("accuracy") else f"{number:.3g}"
