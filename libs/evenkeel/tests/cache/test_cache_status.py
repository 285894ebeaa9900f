from evenkeel.cache.cache_status import TierStatus, render


def test_nearest_the_origin_first() -> None:
    memory = TierStatus("memory", forwarded="uri-miss", stored=True)
    redis = TierStatus("redis", ttl=376.9)
    assert render([memory, redis]) == "redis; hit; ttl=376, memory; fwd=uri-miss; stored"


def test_no_tier() -> None:
    assert render([]) == ""


def test_detail() -> None:
    assert str(TierStatus("redis", forwarded="bypass", detail="unavailable")) == "redis; fwd=bypass; detail=unavailable"


def test_collapsed_and_stored() -> None:
    status = TierStatus("redis", forwarded="uri-miss", stored=True, collapsed=True)
    assert str(status) == "redis; fwd=uri-miss; stored; collapsed"


def test_miss_that_turns_into_a_stale_hit() -> None:
    status = TierStatus("redis", forwarded="bypass", detail="distrusted")
    status.hit(-3.2, stale=True)
    assert str(status) == "redis; hit; ttl=-3; stale; detail=distrusted"
