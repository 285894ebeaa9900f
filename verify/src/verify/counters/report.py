"""What people and programs read of a verification of the counters."""

from verify.counters.tally import CountersTally
from verify.report import Report

EXPLANATION = (
    "faults: times that the fault was done to the running stack. ok: increments whose value was answered. retried:"
    " requests sent again with the same key. replayed: answers that said they had been given before. unknown:"
    " increments without a key that got no answer; in brackets those that were applied, as the values show. lost:"
    " acknowledged and not in the values. doubled: in the values, and nobody's. disorder: ended before something began"
    " whose effect they show."
)

HEADINGS = (
    *("PHASE", "FAULTS", "SECONDS", "INCREMENTS", "READS", "OK", "RETRIED", "REPLAYED", "UNKNOWN"),
    *("LOST", "DOUBLED", "DISORDER"),
)


def _row(tally: CountersTally) -> tuple[str, ...]:
    return (
        tally.phase,
        str(tally.injected),
        f"{tally.seconds:.0f}",
        *map(str, (tally.increments, tally.reads, tally.acknowledged, tally.retried, tally.replayed)),
        f"{tally.unknown} ({tally.applied})",
        *(str(tally.breaches[kind]) for kind in ("lost", "doubled", "disorder")),
    )


REPORT = Report("verify counters", HEADINGS, _row, EXPLANATION, breaches=frozenset({"LOST", "DOUBLED", "DISORDER"}))
