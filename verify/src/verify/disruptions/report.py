"""How a verification of disruptions is presented to people and programs."""

from verify.disruptions.tally import DisruptionTally
from verify.report import Report

EXPLANATION = (
    "failed: requests whose first try got no answer, or another status than a success. lost: acknowledged writes that"
    " are not in the values. doubled: writes in the values that no client made. longest gap: seconds without a success"
    " of one kind of request, of reads for example; each kind has some 25 requests a second."
)

HEADINGS = ("DISRUPTION", "SECONDS", "REQUESTS", "FAILED", "LOST", "DOUBLED", "LONGEST GAP")


def _row(tally: DisruptionTally) -> tuple[str, ...]:
    return (
        tally.phase,
        f"{tally.seconds:.0f}",
        *map(str, (tally.requests, tally.failed, tally.breaches["lost"], tally.breaches["doubled"])),
        f"{tally.gap:.2f}",
    )


def _notes(tally: DisruptionTally) -> list[str]:
    return [f"{count} failed: {what}" for what, count in tally.errors.most_common()]


REPORT = Report(
    "verify disruptions", HEADINGS, _row, EXPLANATION, notes=_notes, breaches=frozenset({"LOST", "DOUBLED"})
)
