from stack import status

STATUS = {
    "gateway": "http://127.0.0.1:8080",
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
    assert status.table(STATUS) == (
        "NAME        STATE    PID  RESTARTS  ADDRESS\n"
        "user-api-1  healthy  7    0         http://127.0.0.1:20001\n"
        "postgres    unready  -    2         postgresql://127.0.0.1:20002/users"
    )


def test_passwords_are_not_shown() -> None:
    assert "secret" not in status.welcome(STATUS)


def test_the_welcome_says_how_to_try_it_and_that_access_control_is_off() -> None:
    text = status.welcome(STATUS)
    assert "curl -X POST http://127.0.0.1:8080/v1/counters/visits/increment" in text
    assert "Access control is off" in text
