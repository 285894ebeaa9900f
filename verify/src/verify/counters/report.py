"""How a verification of the counters is presented to people and programs."""

from verify.counters.tally import CountersTally
from verify.report import Report

EXPLANATION = (
    "faults: how often the fault was injected. ok: acknowledged increments. retried: requests sent again with the same"
    " key. replayed: answers marked as replays. unknown: increments without a key that got no answer; in brackets those"
    " that were applied, as the values show. lost: units that were acknowledged and are not in the values. doubled:"
    " units in the values that no increment made. disorder: operations that show the effect of another one, although"
    " they had ended before it began."
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
