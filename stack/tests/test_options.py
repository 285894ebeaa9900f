import pytest

from stack.errors import UsageError
from stack.options import Options


def test_nothing_given_leaves_everything_open() -> None:
    assert Options.read({}, {}) == Options()


def test_arguments_go_before_the_environment() -> None:
    environment = {"USER_API_REPLICAS": "4", "COUNTER_API_REPLICAS": "3", "PORT": "9000"}
    assert Options.read({"user_api_replicas": "1"}, environment) == Options(
        user_api_replicas=1, counter_api_replicas=3, port=9000
    )


def test_an_empty_variable_counts_as_none() -> None:
    assert Options.read({}, {"PORT": ""}) == Options()


def test_given_servers() -> None:
    urls = {
        "postgres_url": "postgresql://u:p@127.0.0.1:5432/users",
        "cache_url": "redis://:p@127.0.0.1:6379/0",
        "counters_url": "rediss://127.0.0.1:6380",
    }
    assert Options.read(urls, {}) == Options(**urls)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "sidecars"), [("true", True), ("1", True), ("false", False), ("0", False), ("", None)]
)
def test_sidecars_are_a_switch(text: str, sidecars: object) -> None:
    assert Options.read({}, {"STACK_SIDECARS": text}).sidecars is sidecars


def test_the_argument_switches_off_what_the_environment_switches_on() -> None:
    assert Options.read({"sidecars": "false"}, {"STACK_SIDECARS": "true"}).sidecars is False


@pytest.mark.parametrize(("text", "access"), [("open", "open"), ("tokens", "tokens"), ("", None)])
def test_access_control_is_open_or_by_tokens(text: str, access: object) -> None:
    assert Options.read({}, {"GATEWAY_ACCESS": text}).access is access


def test_the_argument_closes_what_the_environment_opens() -> None:
    assert Options.read({"access": "tokens"}, {"GATEWAY_ACCESS": "open"}).access == "tokens"


def test_access_control_is_nothing_else() -> None:
    with pytest.raises(UsageError, match=r"^GATEWAY_ACCESS must be open or tokens, not 'off'$"):
        Options.read({}, {"GATEWAY_ACCESS": "off"})


def test_a_switch_has_two_positions() -> None:
    with pytest.raises(UsageError, match=r"^STACK_SIDECARS must be true or false, not 'yes'$"):
        Options.read({}, {"STACK_SIDECARS": "yes"})


def test_sidecars_of_a_cache_behind_tls_are_refused() -> None:
    with pytest.raises(UsageError, match="has no TLS"):
        Options.read({"cache_url": "rediss://:secret@127.0.0.1:6379/0", "sidecars": "true"}, {})


@pytest.mark.parametrize("text", ["0", "65536", "-1", "x", "8080.0", " 80", "٣"])
def test_a_port_is_a_number_in_range(text: str) -> None:
    with pytest.raises(UsageError, match=r"^PORT must be a whole number from 1 to 65535, not"):
        Options.read({}, {"PORT": text})


@pytest.mark.parametrize("text", ["65", "-1", "two"])
def test_replicas_are_a_number_in_range(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--user-api-replicas must be a whole number from 0 to 64, not"):
        Options.read({"user_api_replicas": text}, {})


@pytest.mark.parametrize(
    "url", ["mysql://h:1/x", "postgresql://h/x", "postgresql:///x", "h:5432", "postgresql://h:secret/x"]
)
def test_a_url_is_complete_and_not_repeated(url: str) -> None:
    with pytest.raises(UsageError, match=r"^--postgres-url must be a URL like postgresql://") as caught:
        Options.read({"postgres_url": url}, {})
    assert url not in str(caught.value)
