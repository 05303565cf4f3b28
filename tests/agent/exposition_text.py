"""Reads Prometheus's text format 0.0.4 as strictly as its description, refusing what a lenient parser would forgive.

Source: prometheus.io, "Exposition formats". Written from it and not from the writer, so that the two check each other.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_HELP = re.compile(rf"# HELP ({_NAME}) (\S.*)")
_TYPE = re.compile(rf"# TYPE ({_NAME}) (counter|gauge|histogram)")
_SAMPLE = re.compile(rf"({_NAME})(?:\{{(.*)\}})? (\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')
_UNESCAPED = {r"\\": "\\", r"\"": '"', r"\n": "\n"}

Labels = frozenset[tuple[str, str]]


@dataclass
class Family:
    """One metric: its type, its help, and its samples by name and labels."""

    kind: str
    says: str
    samples: dict[tuple[str, Labels], float] = field(default_factory=dict)


def parse(text: str) -> dict[str, Family]:
    """Return the families of ``text`` by name; an assertion fails at the first line that breaks the format."""
    assert text.endswith("\n")
    families: dict[str, Family] = {}
    name = ""
    lines = iter(text.removesuffix("\n").split("\n"))
    for line in lines:
        if head := _HELP.fullmatch(line):
            name = head[1]
            assert name not in families, f"a second family {name}"
            kind = _TYPE.fullmatch(next(lines))
            assert kind is not None, f"no type after {line!r}"
            assert kind[1] == name, line
            families[name] = Family(kind=kind[2], says=head[2])
            continue
        found = _SAMPLE.fullmatch(line)
        assert found is not None, f"unreadable: {line!r}"
        family = families[name]
        suffixes = ("_bucket", "_sum", "_count") if family.kind == "histogram" else ("",)
        assert found[1] in {f"{name}{suffix}" for suffix in suffixes}, f"{found[1]} among the samples of {name}"
        key = found[1], _labels(found[2] or "")
        assert key not in family.samples, f"twice: {line!r}"
        family.samples[key] = float(found[3])
    for name, family in families.items():
        if family.kind == "histogram":
            _check_histogram(name, family)
    return families


def _labels(text: str) -> Labels:
    found: dict[str, str] = {}
    while text:
        label = _LABEL.match(text)
        assert label is not None, f"unreadable labels: {text!r}"
        assert label[1] not in found, f"twice: {label[1]}"
        found[label[1]] = re.sub(r"\\.", lambda match: _UNESCAPED[match[0]], label[2])
        text = text[label.end() :]
    return frozenset(found.items())


def _check_histogram(name: str, family: Family) -> None:
    """Buckets ascend to +Inf and never shrink; the count is the last one's."""
    series: dict[Labels, list[tuple[float, float]]] = {}
    for (sample, labels), value in family.samples.items():
        if sample == f"{name}_bucket":
            bound = float(dict(labels)["le"])
            series.setdefault(frozenset(pair for pair in labels if pair[0] != "le"), []).append((bound, value))
    for labels, buckets in series.items():
        assert buckets == sorted(buckets), f"{name}: buckets out of order"
        assert [count for _, count in buckets] == sorted(count for _, count in buckets), f"{name}: not cumulative"
        assert buckets[-1][0] == math.inf
        assert family.samples[f"{name}_count", labels] == buckets[-1][1]
        assert (f"{name}_sum", labels) in family.samples
