"""Whether Redis is set up so that an acknowledged count survives its crash."""

from counter_api.problems import NothingApplied
from counter_api.storage.pipeline import RedisPipeline

REQUIRED = {
    "appendonly": "yes",  # without it a restart loses everything since the last snapshot
    "appendfsync": "always",  # a reply then means fsynced; everysec loses the last second
    "maxmemory-policy": "noeviction",  # any other deletes counters when memory is short
}


async def check(pipeline: RedisPipeline) -> None:
    """Raise RuntimeError, naming each wrong setting, if the server could lose counts that it has confirmed."""
    try:
        found: dict[bytes, bytes] = await pipeline.command("CONFIG", "GET", *REQUIRED)
    except NothingApplied as error:
        raise RuntimeError(
            f"{error.detail.rstrip('.')}; so whether counts are safe there cannot be seen: permit CONFIG GET, or set "
            "COUNTER_API_ALLOW_UNSAFE_REDIS=true if you know"
        ) from error
    actual = {name.decode(): value.decode() for name, value in found.items()}
    wrong = [
        f"{name} is {actual.get(name, 'unknown')} and must be {value}"
        for name, value in REQUIRED.items()
        if actual.get(name) != value
    ]
    if wrong:
        raise RuntimeError(
            f"this Redis may lose counts: {', '.join(wrong)} (COUNTER_API_ALLOW_UNSAFE_REDIS=true overrides)"
        )
