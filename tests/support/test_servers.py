"""Where containers cannot be used, the tests run on the embedded servers, and the output says why."""

import pytest


@pytest.fixture
def chosen_backend(pytestconfig: pytest.Config) -> object:
    (plugin,) = [each for each in pytestconfig.pluginmanager.get_plugins() if hasattr(each, "_chosen_backend")]
    return plugin


def test_without_docker_the_servers_are_embedded(chosen_backend: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen_backend, "docker_answers", lambda: False)
    assert chosen_backend._chosen_backend() == ("embedded", "no Docker")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        (RuntimeError("cannot mount the socket\nat once"), "cannot mount the socket"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_an_engine_that_starts_no_container_is_not_used(
    chosen_backend: object, monkeypatch: pytest.MonkeyPatch, trouble: Exception, why: str
) -> None:
    """As rootless engines, on which the container that cleans up cannot be started."""

    def fail(_container: object) -> None:
        raise trouble

    monkeypatch.setattr(chosen_backend, "docker_answers", lambda: True)
    monkeypatch.setattr("tests.support.servers.RedisContainer.__enter__", fail)
    assert chosen_backend._chosen_backend() == (  # type: ignore[attr-defined]
        "embedded",
        f"Docker starts no usable container: {why}",
    )


def test_an_engine_that_starts_containers_is_used(chosen_backend: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen_backend, "docker_answers", lambda: True)
    monkeypatch.setattr(chosen_backend, "container_trouble", lambda: None)
    assert chosen_backend._chosen_backend() == ("containers", "")  # type: ignore[attr-defined]
