"""The spike as a picture for the README: who served how much, and how slowly, a column a contender.

The ground is left transparent and every colour is of middle lightness, so that it reads on a white and on a dark page.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import NullFormatter, NullLocator

from benches.spill.contenders import CONTENDERS, DRAWBRIDGE
from benches.spill.ground import LOADS
from benches.spill.spike import Spikes, edge_percent, p99_ms, served_percent

_INK = "#6e7781"
_HOME, _AWS, _LOST = "#2f9e8f", "#d99a2b", "#d1495b"
_ON_COLOUR = "#ffffff"
_FAST_MS, _SLOW_MS = 40, 12_000


def draw(spikes: Spikes, path: Path) -> None:
    """Write the medians of ``spikes`` to ``path`` as SVG; its folder is made."""
    # Letters as outlines look the same wherever they are shown, and the same numbers make the same file.
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "spill", "font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(10, 5.6), layout="constrained")
        FigureCanvasSVG(figure)
        grid = figure.subplots(2, len(CONTENDERS), sharex=True, sharey="row")
        for column, contender in enumerate(CONTENDERS):
            title = grid[0][column].set_title(contender.name, color=_INK, fontsize=11)
            title.set_fontweight("bold" if contender is DRAWBRIDGE else "normal")
            _shares(grid[0][column], spikes, contender.name)
            _latency(grid[1][column], spikes, contender.name)
        grid[0][0].set_ylabel("of all requests, %", color=_INK)
        grid[1][0].set_ylabel("p99 of the served", color=_INK)
        figure.supxlabel("load, as a multiple of what the core can serve", color=_INK, fontsize=10)
        parts = ((_HOME, "served by the core"), (_AWS, "served by AWS"), (_LOST, "failed"))
        figure.legend(
            handles=[Patch(color=colour, label=label) for colour, label in parts],
            loc="outside upper center",
            ncols=len(parts),
            frameon=False,
            labelcolor=_INK,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", transparent=True, metadata={"Date": None})


def _shares(axes: Axes, spikes: Spikes, name: str) -> None:
    _bare(axes)
    for place, load in enumerate(LOADS):
        runs = spikes[name, load]
        served = statistics.median(map(served_percent, runs))
        aws = served * statistics.median(map(edge_percent, runs)) / 100
        bottom = 0.0
        for height, colour in ((served - aws, _HOME), (aws, _AWS), (100 - served, _LOST)):
            axes.bar(place, height, bottom=bottom, width=0.8, color=colour)
            if height >= 8:
                middle = bottom + height / 2
                axes.text(place, middle, f"{height:.0f}", ha="center", va="center", color=_ON_COLOUR, fontsize=9)
            bottom += height
    axes.set_ylim(0, 100)
    axes.set_yticks((0, 50, 100))


def _latency(axes: Axes, spikes: Spikes, name: str) -> None:
    _bare(axes)
    axes.set_yscale("log")
    for place, load in enumerate(LOADS):
        samples = list(map(p99_ms, spikes[name, load]))
        middle = statistics.median(samples)
        axes.vlines(place, _FAST_MS, middle, color=_INK, linewidth=1, alpha=0.4)
        axes.vlines(place, min(samples), max(samples), color=_INK, linewidth=5, alpha=0.4)
        axes.plot(place, middle, "o", color=_INK, markersize=6)
        axes.annotate(
            _duration(middle), (place, max(samples)), (0, 6), textcoords="offset points", ha="center", color=_INK
        )
    axes.set_ylim(_FAST_MS, _SLOW_MS)
    axes.set_yticks((100, 1_000, 10_000), ("100 ms", "1 s", "10 s"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())


def _bare(axes: Axes) -> None:
    """Leave of the frame what carries a number."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_INK)
    axes.tick_params(colors=_INK, length=0)
    axes.set_xticks(range(len(LOADS)), _labels(LOADS))


def _labels(loads: Sequence[float]) -> list[str]:
    return [f"{load:g}×" for load in loads]


def _duration(ms: float) -> str:
    return f"{ms / 1000:.1f} s" if ms >= 1000 else f"{ms:.0f} ms"
