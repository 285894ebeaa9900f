"""The OpenAPI documents describe the gateway's own answers as the gateway sends them."""

import re
from pathlib import Path

import yaml

from evenkeel.http.gateway_problems import OF_EVERY_ROUTE, TooManyStreams
from evenkeel.http.problems import TYPE_PREFIX, Problem

LISTENERS = Path(__file__).parents[1] / "listeners.yaml"


def test_documented_problems_are_the_gateways_own() -> None:
    answers = {
        (body["type"], body["title"])
        for body in _bodies(yaml.safe_load(LISTENERS.read_text()))
        if re.match(TYPE_PREFIX, body["type"])
    }
    documented: list[type[Problem]] = [*OF_EVERY_ROUTE, TooManyStreams]
    assert {(TYPE_PREFIX + problem.slug, problem.title) for problem in documented} <= answers


def _bodies(node: object) -> list[dict[str, str]]:
    """Every `json_format` in the tree."""
    if isinstance(node, list):
        return [body for child in node for body in _bodies(child)]
    if isinstance(node, dict):
        own = [node["json_format"]] if "type" in node.get("json_format", {}) else []
        return own + [body for child in node.values() for body in _bodies(child)]
    return []
