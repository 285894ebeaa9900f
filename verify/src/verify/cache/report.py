"""How a verification of the cache is presented to people and programs."""

from verify.cache.tally import PROMISE, CacheTally
from verify.report import Report

EXPLANATION = (
    "cached: share of the answers from a cache, among those that name their source. stale: share of the answers given"
    " as fresh that lacked a commit known when the request was sent. p50 to max: how stale those were, in ms."
    " marked: answers marked as possibly stale. own: stale reads of a write through the replica that had acknowledged"
    " it. min-v: broken Min-Version promises."
)

HEADINGS = (
    *("PHASE", "READS", "WRITES", "ERRORS", "CACHED", "STALE", "P50", "P99", "P99.9", "MAX"),
    *("MARKED", "OWN", "MIN-V"),
)


def _row(tally: CacheTally) -> tuple[str, ...]:
    summary = tally.counts()
    cached = tally.sources["memory"] + tally.sources["redis"]
    return (
        tally.phase,
        str(tally.reads),
        str(tally.writes),
        str(tally.errors.total()),
        _percent(cached, cached + tally.sources["database"], 0),
        _percent(summary["stale"], tally.reads, 3),
        *(f"{value:.0f}" for value in summary["staleness_ms"].values()),
        str(tally.marked),
        str(tally.own_stale),
        str(tally.breaches["min-version"]),
    )


def _notes(tally: CacheTally) -> list[str]:
    kinds = ", ".join(f"{count} {kind}" for kind, count in tally.errors.most_common())
    return [f"no answer: {kinds}"] if kinds else []


def _percent(part: int, whole: int, digits: int) -> str:
    return f"{100 * part / whole:.{digits}f}%" if whole else "-"


REPORT = Report(
    "verify cache",
    HEADINGS,
    _row,
    EXPLANATION,
    _notes,
    promises={"promise_ms": PROMISE * 1000},
    breaches=frozenset({"MIN-V"}),
)

_SHOWN_ANYWHERE = [number for number, heading in enumerate(HEADINGS) if heading not in {"CACHED", "MIN-V"}]
"""Other services name no source, and have no Min-Version."""

ANYWHERE = Report(
    "verify cache",
    tuple(HEADINGS[number] for number in _SHOWN_ANYWHERE),
    lambda tally: tuple(_row(tally)[number] for number in _SHOWN_ANYWHERE),
    "stale: share of the answers that lacked a write known when the request was sent. p50 to max: how stale those"
    " were, in ms. marked: answers that say in Cache-Status that they may be stale. own: stale reads of a write at the"
    " address that had acknowledged it.",
    _notes,
)
"""Of services that are not Evenkeel's."""
