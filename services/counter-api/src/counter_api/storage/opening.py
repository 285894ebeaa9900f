"""From the URL of the counters' Redis to the topology behind it."""

from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from counter_api.storage.cluster import Cluster
from counter_api.storage.sentinel import SentinelPrimary
from counter_api.storage.topology import SingleServer, Topology

KINDS: Mapping[str, Callable[..., Topology]] = {"": SingleServer, "sentinel": SentinelPrimary, "cluster": Cluster}


def topology_of(url: str, *, name: str) -> Topology:
    """Nothing is connected yet. `name` is the connections' in CLIENT LIST.

    Raise ValueError or TypeError for an unusable URL.
    """
    kind = urlsplit(url).scheme.partition("+")[2]
    if kind not in KINDS:
        raise ValueError("unknown scheme")
    return KINDS[kind](url, name=name)
