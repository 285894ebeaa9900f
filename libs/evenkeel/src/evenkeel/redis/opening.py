"""From a Redis URL to the topology behind it."""

from evenkeel.redis.cluster import Cluster
from evenkeel.redis.sentinel import SentinelPrimary
from evenkeel.redis.topology import SingleServer, Topology
from evenkeel.redis.urls import LOOKS_LIKE, Credentials, UnusableURL, kind_of

NO_CREDENTIALS = Credentials()


def topology_of(url: str, *, name: str, sentinels: Credentials = NO_CREDENTIALS) -> Topology:
    """Nothing is connected yet. `name` is the connections' in CLIENT LIST.

    Raise UnusableURL, whose message has no part of the URL.
    """
    try:
        match kind_of(url):
            case "sentinel":
                return SentinelPrimary(url, name=name, sentinels=sentinels)
            case "cluster":
                return Cluster(url, name=name)
            case _:
                return SingleServer(url, name=name)
    except UnusableURL:
        raise
    except (TypeError, ValueError):
        # redis-py's messages contain parts of the URL, so of the password.
        raise UnusableURL(f"must look like {LOOKS_LIKE}") from None
