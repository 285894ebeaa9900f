"""OTEL_TRACES_SAMPLER and its argument mean what OpenTelemetry says."""

import logging

import pytest
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

from evenkeel.service.sampling import Sampling

LOW, HIGH = b"%032x" % 1, b"f" * 32


@pytest.mark.parametrize(
    ("name", "alone", "below", "above", "unsampled"),
    [
        ("", True, True, True, False),
        ("always_on", True, True, True, True),
        ("always_off", False, False, False, False),
        ("parentbased_always_on", True, True, True, False),
        ("PARENTBASED_ALWAYS_OFF", False, True, True, False),
        ("traceidratio", None, True, False, True),
        ("parentbased_traceidratio", None, True, True, False),
        ("jaeger_remote", True, True, True, False),
    ],
)
def test_samplers(name: str, alone: bool | None, below: bool, above: bool, unsampled: bool) -> None:  # noqa: FBT001
    sampling = Sampling.of_the_environment({"OTEL_TRACES_SAMPLER": name, "OTEL_TRACES_SAMPLER_ARG": "0.01"})
    callers = [(LOW, True), (HIGH, True), (LOW, False)]
    found = [sampled if sampling.parent_based else sampling.chooses(trace_id) for trace_id, sampled in callers]
    assert found == [below, above, unsampled]
    assert sampling.share == (0.01 if alone is None else float(alone))


@pytest.mark.parametrize("ratio", [0.0, 0.01, 0.5, 1.0])
def test_the_same_traces_as_other_services_choose(ratio: float) -> None:
    sampling = Sampling(ratio, parent_based=False)
    theirs = TraceIdRatioBased(ratio)
    for number in range(0, 2**128, 2**128 // 997):
        expected = theirs.should_sample(None, number, "x").decision == Decision.RECORD_AND_SAMPLE
        assert sampling.chooses(b"%032x" % number) is expected


@pytest.mark.parametrize("argument", ["", "much", "-1", "2", "nan"])
def test_a_wrong_share_is_all(argument: str, caplog: pytest.LogCaptureFixture) -> None:
    environment = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": argument}
    with caplog.at_level(logging.WARNING):
        assert Sampling.of_the_environment(environment).chooses(HIGH)
    assert bool(caplog.records) is bool(argument)
