"""Promise 1 of docs/coherence.md on a Redis Cluster: the cache's slot moves to another node, whose server dies."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.crc import key_slot
from tests.support.cache_servers import SLOT, cache_cluster, follows, owner, sidecar_of
from tests.support.counters_redis import PASSWORD, Cluster, CountersServer
from tests.support.serving import Serve
from tests.support.witness import eventually, fleet, witnessing

pytestmark = pytest.mark.anyio


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with cache_cluster(tmp_path) as running:
        yield running


async def slots(node: CountersServer) -> set[int]:
    """Of the names that are on the node."""
    async with node.client() as client:
        names: list[bytes] = await client.keys()  # type: ignore[assignment]  # not decoded
        return {key_slot(name) for name in names}


@pytest.mark.slow
async def test_the_slot_moves_to_another_node_and_back(serve: Serve, database_url: str, cluster: Cluster) -> None:
    own = {"cache_url": cluster.url}
    source = owner(cluster)
    target = next(node for node in cluster.nodes[:3] if node is not source)
    async with (
        fleet(serve, own, own, own | {"cache_tiers": "redis"}) as replicas,
        witnessing(database_url, replicas) as witness,
    ):
        by_hand, through, later = ids = await witness.create(3)
        await witness.warm(ids)
        assert await slots(source) == {SLOT}
        async with witness.watching(ids):
            for before, after in ((source, target), (target, source)):
                await witness.rename(by_hand)
                async with cluster.moving(SLOT, before, after):
                    await witness.rename(later)
                    assert await witness.patch(replicas[0], through) == 200
                    await asyncio.sleep(0.3)
                assert await witness.patch(replicas[2], through) == 200
                await witness.rename(*ids[::2])
                await witness.verdict()
                await witness.settled(ids)
                assert await slots(after) == {SLOT}
                assert await slots(before) == set()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill", "freeze", "by hand"])
async def test_the_replica_is_promoted(serve: Serve, database_url: str, cluster: Cluster, how: str) -> None:
    own = {"cache_url": cluster.url}
    old, new = owner(cluster), cluster.nodes[3]

    async def promoted() -> bool:
        role = await cluster.call(new, "ROLE")
        return bool(role[0] == b"master")

    async with (
        fleet(serve, own, own, own | {"cache_tiers": "redis"}) as replicas,
        witnessing(database_url, replicas) as witness,
    ):
        by_hand, through, late = ids = await witness.create(3)
        await witness.warm(ids)
        async with witness.watching(ids):
            await witness.rename(by_hand)
            if how == "kill":
                await old.kill()
            elif how == "freeze":
                old.freeze()
            else:
                await cluster.call(new, "CLUSTER", "FAILOVER")
            assert await witness.patch(replicas[0], through) == 200
            await witness.rename(late)
            await eventually(promoted)
            await witness.rename(by_hand)
            if how == "kill":
                await old.start()
            elif how == "freeze":
                old.thaw()
            assert await witness.patch(replicas[2], through) == 200
            await witness.verdict()
        await witness.settled(ids)
        assert await slots(new) == {SLOT}


@pytest.mark.slow
async def test_a_sidecar_follows_the_promoted_replica(
    serve: Serve, database_url: str, cluster: Cluster, tmp_path: Path
) -> None:
    """A replica of one node that is no node itself."""
    old, new = owner(cluster), cluster.nodes[3]
    async with sidecar_of("127.0.0.1 1", tmp_path) as url:
        own = {"cache_url": cluster.url, "cache_read_url": url}
        async with fleet(serve, own, own) as replicas, witnessing(database_url, replicas) as witness:
            by_hand, through = ids = await witness.create(2)
            await eventually(lambda: follows(url, old.port))
            await witness.warm(ids)
            async with witness.watching(ids):
                await old.kill()
                await witness.rename(by_hand)
                await eventually(lambda: follows(url, new.port))
                assert await witness.patch(replicas[0], through) == 200
                await witness.rename(by_hand)
                await witness.verdict()
            await witness.settled(ids)


@pytest.mark.slow
async def test_a_node_that_is_not_asked_any_more(serve: Serve, database_url: str, cluster: Cluster) -> None:
    """The first of the URL's nodes is gone: the others know where the slot is."""
    gone = next(node for node in cluster.nodes[:2] if node is not owner(cluster))
    for node in cluster.nodes:
        await cluster.call(node, "CONFIG", "SET", "cluster-require-full-coverage", "no")
    await gone.kill()
    url = f"redis+cluster://:{PASSWORD}@127.0.0.1:{gone.port},127.0.0.1:{cluster.nodes[2].port}"
    async with fleet(serve, {"cache_url": url}) as replicas, witnessing(database_url, replicas) as witness:
        ids = await witness.create(2)
        await witness.warm(ids)
        await witness.rename(*ids)
        await witness.settled(ids)
