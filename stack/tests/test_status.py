from stack import status

URL = "http://127.0.0.1:8080"

STATUS = {
    "gateway": URL,
    "processes": [
        {"name": "user-api-1", "state": "healthy", "pid": 7, "restarts": 0, "url": "http://127.0.0.1:20001"},
        {
            "name": "postgres",
            "state": "unready",
            "pid": None,
            "restarts": 2,
            "url": "postgresql://user_api:secret@127.0.0.1:20002/users",
        },
    ],
}


def test_the_table() -> None:
    assert status.table(STATUS).text() == (
        "NAME        STATE    PID  RESTARTS  ADDRESS\n"
        "user-api-1  healthy  7    0         http://127.0.0.1:20001\n"
        "postgres    unready  -    2         postgresql://127.0.0.1:20002/users"
    )


def test_passwords_are_not_shown() -> None:
    assert "secret" not in status.table(STATUS).text() + status.welcome(STATUS)


def _welcome(access: str) -> str:
    gateway = {"name": "gateway", "state": "healthy", "pid": 8, "restarts": 0, "url": URL, "access": access}
    return status.welcome({"gateway": URL, "processes": [gateway]})


def test_the_welcome_names_the_console_first() -> None:
    assert _welcome("open").startswith(f"Open {URL}/ in a browser")


def test_the_welcome_says_how_to_try_it_and_that_access_control_is_off() -> None:
    text = _welcome("open")
    assert f"  curl -X POST {URL}/v1/counters/visits/increment\n" in text
    assert "Access control is off" in text
    assert "token" not in text.replace("GATEWAY_ACCESS=tokens", "")


def test_the_welcome_says_how_to_try_it_with_a_token_when_access_control_is_on() -> None:
    text = _welcome("tokens")
    assert '  TOKEN=$(make -s token SCOPES="users:read users:write counters:read counters:write fleet:read")\n' in text
    assert f'  curl -H "Authorization: Bearer $TOKEN" -X POST {URL}/v1/counters/visits/increment\n' in text
    assert text.count("curl ") == text.count("Bearer $TOKEN") == 5
    assert "Access control is on" in text
