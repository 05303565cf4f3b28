"""Numbers as Prometheus reads them, in its text format 0.0.4; it must not know what any of them means.

Source: prometheus.io, "Exposition formats": HELP and TYPE once, before a family's samples; backslash, quote and line
feed escaped in label values; a histogram's buckets cumulative, the last one ``+Inf``.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, Self

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]
NO_LABELS: Labels = {}

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """How many values fell into each bucket, and their ``total``.

    ``counts[i]`` of them are at most ``bounds[i]`` and above the bound before; one count more is for those above all.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float

    @classmethod
    def of(cls, bounds: tuple[float, ...], values: Iterable[float] = ()) -> Self:
        """Return how ``values`` fall between ``bounds``, which ascend."""
        counts, total = [0] * (len(bounds) + 1), 0.0
        for value in values:
            counts[bisect.bisect_left(bounds, value)] += 1
            total += value
        return cls(bounds=bounds, counts=tuple(counts), total=total)

    def plus(self, value: float) -> Self:
        """Return the same with one value more."""
        place = bisect.bisect_left(self.bounds, value)
        counts = (*self.counts[:place], self.counts[place] + 1, *self.counts[place + 1 :])
        return replace(self, counts=counts, total=self.total + value)


def family(
    name: str, kind: Literal["counter", "gauge"], says: str, series: Iterable[tuple[Labels, float]]
) -> Iterator[str]:
    """Yield the lines of one family; ``says`` is one line without a backslash."""
    yield from _head(name, kind, says)
    for labels, value in series:
        yield _sample(name, labels, value)


def histogram(name: str, says: str, series: Iterable[tuple[Labels, Distribution]]) -> Iterator[str]:
    """Yield the lines of one histogram."""
    yield from _head(name, "histogram", says)
    for labels, seen in series:
        limits = (*(_number(bound) for bound in seen.bounds), "+Inf")
        for limit, count in zip(limits, itertools.accumulate(seen.counts), strict=True):
            yield _sample(f"{name}_bucket", {**labels, "le": limit}, count)
        yield _sample(f"{name}_sum", labels, seen.total)
        yield _sample(f"{name}_count", labels, sum(seen.counts))


def _head(name: str, kind: str, says: str) -> tuple[str, str]:
    return f"# HELP {name} {says}\n", f"# TYPE {name} {kind}\n"


def _sample(name: str, labels: Labels, value: float) -> str:
    words = ",".join(f'{label}="{text.translate(_ESCAPES)}"' for label, text in labels.items())
    return f"{name}{{{words}}} {_number(value)}\n" if words else f"{name} {_number(value)}\n"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
