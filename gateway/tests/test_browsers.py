"""The settings for web pages and host names reach the gateway of the local stack from the environment."""

import pytest

from stack import browsers
from stack.errors import UsageError
from stack.options import Options

GIVEN = {
    "GATEWAY_HOSTS": "api.example.com, [::1]",
    "GATEWAY_CORS_ORIGINS": "https://app.example.com,http://[::1]:3000,http://localhost:3000",
    "GATEWAY_PUBLIC_PREFIX": "public:,site.",
}


def test_spaces_and_empty_entries_do_not_matter() -> None:
    assert browsers.read({"GATEWAY_HOSTS": " a , ,b,"}) == {**browsers.NONE, "GATEWAY_HOSTS": "a,b"}


@pytest.mark.parametrize("environment", [{}, {"GATEWAY_HOSTS": ""}, {"GATEWAY_PUBLIC_PREFIX": " , "}])
def test_nothing_given(environment: dict[str, str]) -> None:
    assert browsers.read(environment) is None
    assert Options.read({}, environment).pages is None


def test_all_are_options_of_the_stack() -> None:
    assert Options.read({}, GIVEN).pages == {name: value.replace(" ", "") for name, value in GIVEN.items()}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GATEWAY_HOSTS", "example.com:80"),
        ("GATEWAY_HOSTS", "*"),
        ("GATEWAY_CORS_ORIGINS", "*"),
        ("GATEWAY_CORS_ORIGINS", "null"),
        ("GATEWAY_CORS_ORIGINS", "app.example.com"),
        ("GATEWAY_CORS_ORIGINS", "https://app.example.com/"),
        ("GATEWAY_PUBLIC_PREFIX", "/public"),
        ("GATEWAY_PUBLIC_PREFIX", ":"),
    ],
)
def test_a_wrong_one_is_named(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"{name} must be"):
        Options.read({}, {name: value})
