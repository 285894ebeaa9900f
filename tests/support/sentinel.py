"""A Sentinel for one test, with other credentials than its servers."""

from pathlib import Path
from typing import Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError
from tests.support.child import Child

from stack.layout import free_port
from stack.process import Program

OWN_PASSWORD = "of-the-sentinels"
USER, USER_PASSWORD = "watcher", "of-a-user-of-the-sentinels"
LEAST_RIGHTS = "+hello +auth +client|setname +client|setinfo +sentinel|get-master-addr-by-name"


class Watched(Protocol):
    binary: str
    port: int


class Sentinel(Child):
    """One Sentinel is enough for a quorum."""

    SERVICE = "evenkeel"

    def __init__(
        self, directory: Path, primary: Watched, *, password: str, own_password: str | None = OWN_PASSWORD
    ) -> None:
        """`password` is for the servers, `own_password` for the Sentinel."""
        self.port = free_port()
        self.password = own_password
        configuration = directory / "sentinel.conf"
        settings = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"dir {directory}",
            f"requirepass {own_password}" if own_password else "protected-mode no",
            # With the least rights that it needs.
            f"user {USER} on >{USER_PASSWORD} -@all {LEAST_RIGHTS}",
            f"sentinel monitor {self.SERVICE} 127.0.0.1 {primary.port} 1",
            f"sentinel auth-pass {self.SERVICE} {password}",
            f"sentinel down-after-milliseconds {self.SERVICE} 500",
            f"sentinel failover-timeout {self.SERVICE} 3000",
        ]
        configuration.write_text("".join(f"{line}\n" for line in settings))
        program = Program(
            name="sentinel",
            service="sentinel",
            argv=[primary.binary, str(configuration), "--sentinel"],
            ready=self._answers,
        )
        super().__init__(program, directory / "sentinel.log")

    def url(self, password: str, *, user: str = "") -> str:
        """With the servers' credentials."""
        return f"redis+sentinel://{user}:{password}@127.0.0.1:{self.port}/{self.SERVICE}"

    async def primary_port(self) -> int:
        async with self.client() as client:
            address = await client.sentinel_get_master_addr_by_name(self.SERVICE)
            assert isinstance(address, tuple)
            return int(address[1])

    async def knows_replica(self) -> bool:
        async with self.client() as client:
            return bool(await client.sentinel_slaves(self.SERVICE))

    async def fail_over(self) -> None:
        """A failover by hand, while the primary works."""
        async with self.client() as client:
            await client.execute_command("SENTINEL FAILOVER", self.SERVICE)  # type: ignore[no-untyped-call]  # redis-py has not typed it

    def client(self) -> Redis:
        return Redis(port=self.port, password=self.password)

    async def _answers(self) -> bool:
        try:
            async with self.client() as client:
                return bool(await client.ping())
        except (RedisError, OSError):
            return False
