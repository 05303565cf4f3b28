"""Draws a record of the demo as one SVG of 800 × 640; it knows no house, and adds nothing that the record does not say.

The card has a ground of its own, so it reads the same on a light page and on a dark one.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from demo.hosts.errors import HostError
from demo.record import Event, Look, Record

_WIDTH, _HEIGHT, _DPI = 800, 640, 100
_GROUND, _INK, _QUIET = "#fbfbf8", "#24292f", "#6e7781"
_CORE, _EDGE, _FAILED, _WAITING, _LEVEL = "#3b6ea5", "#e0903a", "#c0392b", "#8e5ea2", "#4d8c57"
_LINE = 0.026  # of the height, for one line of words
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "drawbridge",  # the same record is the same file
    "svg.fonttype": "none",  # text stays text: found, read out, and a third of the size
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 8.5,
    "text.color": _INK,
    "axes.edgecolor": _QUIET,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _QUIET,
    "ytick.color": _QUIET,
    "hatch.linewidth": 0.5,
}


def draw(record: Record) -> str:
    """Return the picture as the text of an SVG file: requests by side, queue, nodes and level over the seconds.

    Raises ``HostError`` for a record without seconds or looks.
    """
    if not record.seconds or not record.looks:
        found = f"{len(record.seconds)} seconds and {len(record.looks)} looks"
        raise HostError(f"drawing the run: wanted a record of some length, found {found}")
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH / _DPI, _HEIGHT / _DPI), dpi=_DPI, facecolor=_GROUND)
        panels = figure.subplots(4, 1, height_ratios=(4.2, 1.3, 1.5, 1.1), gridspec_kw={"hspace": 0.22})
        requests, queue, nodes, level = panels
        rows = -(-len(record.events) // 2)
        figure.subplots_adjust(left=0.075, right=0.985, top=0.955, bottom=0.085 + _LINE * rows)
        _requests(requests, record)
        _queue(queue, record)
        _nodes(nodes, record)
        _level(level, record)
        end = record.seconds[-1].at
        for axes in panels:
            axes.set_facecolor(_GROUND)
            axes.set_xlim(0, end)
            axes.grid(axis="y", color=_QUIET, alpha=0.2, linewidth=0.6)
            axes.tick_params(labelbottom=axes is level)
        level.set_xlabel("seconds", color=_QUIET, loc="right", labelpad=1)
        _marks(panels, record.events)
        for index, event in enumerate(record.events):
            column, row = divmod(index, rows)
            place = 0.075 + 0.46 * column, 0.012 + _LINE * (rows - 1 - row)
            figure.text(*place, f"{index + 1} · {event.at:.0f} s · {event.text}", color=_INK)
        output = io.StringIO()
        figure.savefig(output, format="svg", metadata={"Date": None, "Creator": None})
    return output.getvalue()


def _requests(axes: Axes, record: Record) -> None:
    at = [second.at for second in record.seconds]
    sides = ([second.core for second in record.seconds], [second.edge for second in record.seconds])
    failed = [second.failed for second in record.seconds]
    axes.stackplot(at, *sides, failed, colors=(_CORE, _EDGE, _FAILED), labels=("core", "AWS", "failed"), linewidth=0)
    axes.plot(at, [second.sent for second in record.seconds], color=_INK, linewidth=0.9, label="sent")
    axes.axhline(record.capacity, color=_CORE, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.annotate(
        "all the core can",
        (1, record.capacity),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="right",
        color=_CORE,
    )
    axes.set_ylim(0, 1.25 * max(1, *(second.sent for second in record.seconds)))
    axes.legend(
        loc="lower right", bbox_to_anchor=(1, 0.985), frameon=False, ncols=4, handlelength=1.2, columnspacing=1.2
    )
    total, lost = sum(second.sent for second in record.seconds), sum(failed)
    _title(axes, f"requests per second, by who answered: of these {total:,} sent, {lost:,} failed")


def _queue(axes: Axes, record: Record) -> None:
    at, queue = _steps(record, lambda look: look.queue)
    axes.fill_between(at, queue, color=_WAITING, linewidth=0, step="post")
    axes.set_ylim(0, max(4, 1.1 * max(queue)))
    _title(axes, "requests waiting")


def _nodes(axes: Axes, record: Record) -> None:
    (at, serving), (moments, wanted) = (
        _steps(record, lambda look: look.nodes),
        _steps(record, lambda look: look.desired),
    )
    axes.fill_between(at, serving, color=_EDGE, alpha=0.75, linewidth=0, step="post")
    axes.step(moments, wanted, where="post", color=_INK, linewidth=1.0)
    axes.set_ylim(0, max(*serving, *wanted) + 0.6)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    _title(axes, "nodes serving (filled) and wanted (line)")


def _level(axes: Axes, record: Record) -> None:
    axes.step(*_steps(record, lambda look: look.level_percent), where="post", color=_LEVEL, linewidth=1.6)
    axes.set_ylim(0, 112)
    axes.set_yticks((0, 50, 100))
    _title(axes, "burst level, %")


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=8.5, color=_INK, pad=3)


def _steps(record: Record, value: Callable[[Look], int]) -> tuple[list[float], list[int]]:
    """Return when the value changed and to what, and its last: all that a line of steps needs."""
    values = [value(look) for look in record.looks]
    kept = [i for i, now in enumerate(values) if i in {0, len(values) - 1} or now != values[i - 1]]
    return [record.looks[i].at for i in kept], [values[i] for i in kept]


def _marks(panels: Sequence[Axes], events: Sequence[Event]) -> None:
    """One fine line through every panel for each event, its number on top, below those that it would cover."""
    room = 0.03 * panels[0].get_xlim()[1]
    rows: list[float] = []  # where the last number of each row stands
    for number, event in enumerate(events, start=1):
        for axes in panels:
            axes.axvline(event.at, color=_QUIET, linewidth=0.6, linestyle=(0, (1, 2)))
        row = next((row for row, last in enumerate(rows) if event.at - last >= room), len(rows))
        rows[row : row + 1] = [event.at]
        panels[0].annotate(
            str(number),
            (event.at, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, -6 - 11 * row),
            textcoords="offset points",
            ha="center",
            fontsize=7.5,
            color=_GROUND,
            bbox={"boxstyle": "circle,pad=0.2", "facecolor": _QUIET, "linewidth": 0},
        )
