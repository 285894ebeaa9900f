"""Which requests are traced, as the standard variables OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG say.

OpenTelemetry's own samplers do the same, and take ten times as long for a request that is not sampled.
"""

import logging
import random
from collections.abc import Mapping

log = logging.getLogger(__name__)

DEFAULT = "parentbased_always_on"

_NAMES = frozenset(
    {f"{prefix}{name}" for prefix in ("", "parentbased_") for name in ("always_on", "always_off", "traceidratio")}
)


class Sampling:
    """Called with the caller's trace, if there is one, and whether the caller's trace is sampled."""

    def __init__(self, ratio: float, *, parent_based: bool) -> None:
        """`ratio` is the share of the traces that are sampled."""
        self._parent_based = parent_based
        self._bound = round(ratio * 2**64)

    @classmethod
    def of_the_environment(cls, environment: Mapping[str, str]) -> "Sampling":
        """What is wrong in it is logged, and replaced by the default."""
        name = environment.get("OTEL_TRACES_SAMPLER", "").strip().lower() or DEFAULT
        if name not in _NAMES:
            log.warning("OTEL_TRACES_SAMPLER is none of the standard names", extra={"sampler": name, "used": DEFAULT})
            name = DEFAULT
        kind = name.removeprefix("parentbased_")
        ratio = _ratio(environment.get("OTEL_TRACES_SAMPLER_ARG", "")) if kind == "traceidratio" else 1.0
        return cls(0.0 if kind == "always_off" else ratio, parent_based=name != kind)

    def __call__(self, parent: tuple[str, bool] | None) -> bool:
        if parent is None:
            # The same share, since the id of a new trace is random.
            return random.getrandbits(64) < self._bound
        trace_id, sampled = parent
        return sampled if self._parent_based else int(trace_id[16:], 16) < self._bound


def _ratio(text: str) -> float:
    try:
        ratio = float(text or 1)
    except ValueError:
        ratio = -1
    if 0 <= ratio <= 1:
        return ratio
    log.warning("OTEL_TRACES_SAMPLER_ARG is no number from 0 to 1, so every request is traced")
    return 1.0
