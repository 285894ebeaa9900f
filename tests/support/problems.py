"""Rules for every problem document."""

import httpx

from evenkeel.http.gateway_problems import OF_EVERY_ROUTE

PREFIX = "urn:evenkeel:problem:"
OF_EVERY_OPERATION = {"500", *(str(problem.status) for problem in OF_EVERY_ROUTE)}
"""Statuses that every operation documents, most of them because the gateway may answer them."""


def problem(response: httpx.Response) -> tuple[int, str]:
    """The status and the end of the type, after a check of the form."""
    assert response.headers["Content-Type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == response.status_code
    assert document["title"]
    assert document["detail"]
    assert document["type"].startswith(PREFIX)
    assert response.headers["X-Request-Id"]
    assert response.headers["X-Served-By"]
    return response.status_code, document["type"].removeprefix(PREFIX)
