"""The grammar of Redis URLs, and that what is wrong is said without them."""

import subprocess
import sys

import pytest

from evenkeel.redis import Credentials, topology_of
from evenkeel.redis.urls import UnusableURL, addresses_in, kind_of, sentinel_credentials, sentinel_url, url_at

SENTINELS = "redis+sentinel://cache:p%40ss@a:1,[::1]:2/service/3?socket_read_size=4096"


def test_one_url_and_its_servers() -> None:
    assert kind_of(SENTINELS) == "sentinel"
    assert addresses_in(SENTINELS) == ["a:1", "[::1]:2"]
    assert url_at(SENTINELS, "b:6379", path="/3") == "redis://cache:p%40ss@b:6379/3?socket_read_size=4096"


@pytest.mark.parametrize(
    ("credentials", "url"),
    [
        (Credentials(), "redis://a:1?socket_read_size=4096"),
        (Credentials(None, "p@ss"), "redis://:p%40ss@a:1?socket_read_size=4096"),
        (Credentials("me/", "p@ss"), "redis://me%2F:p%40ss@a:1?socket_read_size=4096"),
    ],
)
def test_a_sentinel_gets_its_own_credentials(credentials: Credentials, url: str) -> None:
    assert sentinel_url(SENTINELS, "a:1", credentials) == url


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2@h:6379/0",
        "rediss://user:hunter2@h:6379/0",
        "unix:///run/redis.sock?db=1",
        "redis+sentinel://:hunter2@h:26379/service",
        "rediss+sentinel://:hunter2@h:26379,i:26379/service/2",
        "redis+cluster://:hunter2@h:6379,i:6379",
    ],
)
def test_usable(url: str) -> None:
    topology_of(url, name="test")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("hunter2", "must look like redis://"),
        ("http://:hunter2@h", "must look like redis://"),
        ("redis://hunter2:port", "must look like redis://"),
        ("redis://:hunter2@h/0?x=1", "must look like redis://"),
        ("redis://:hunter2@[h/0", "must look like redis://"),
        ("unix+sentinel://:hunter2@h:1/service", "must look like redis://"),
        ("redis+replicas://:hunter2@h:1", "must look like redis://"),
        ("redis+sentinel://:hunter2@h:1", "the name of the service is missing"),
        ("redis+sentinel://:hunter2@h:1/service/x", "the name of the service is missing"),
        ("redis+sentinel://:hunter2@h/service", "a host or its port is missing"),
        ("redis+sentinel://:hunter2@h:1,/service", "a host or its port is missing"),
        ("redis+sentinel://:hunter2@h:1,i:x/service", "a host or its port is missing"),
        ("redis+cluster://:hunter2@h:1/1", "a cluster has no other database than 0"),
    ],
)
def test_unusable(url: str, says: str) -> None:
    with pytest.raises(UnusableURL) as refused:
        topology_of(url, name="test")
    assert says in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_credentials_that_are_of_no_use() -> None:
    assert sentinel_credentials(SENTINELS, "", "") == Credentials()
    assert sentinel_credentials(SENTINELS, "me", "secret") == Credentials("me", "secret")
    with pytest.raises(ValueError, match="a user needs a password"):
        sentinel_credentials(SENTINELS, "me", None)
    with pytest.raises(ValueError, match=r"the URL is not redis\+sentinel://"):
        sentinel_credentials("redis://h", None, "secret")


def test_it_stands_alone() -> None:
    """Whoever wants a Redis client gets no web framework and no cache with it."""
    program = "import evenkeel.redis, sys; print([name for name in sys.modules if name.startswith(%r)])"
    above = ("fastapi", "starlette", "evenkeel.cache")
    loaded = subprocess.run([sys.executable, "-c", program % (above,)], capture_output=True, text=True, check=True)
    assert loaded.stdout == "[]\n"
