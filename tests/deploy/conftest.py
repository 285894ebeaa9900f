"""The rendered manifests for all tests in this folder."""

import pytest
import yaml
from tests.deploy.manifests import COMPONENTS, K8S, OVERLAYS, Manifests, overlay

VARIANTS = [
    (name, *components) for name in OVERLAYS for components in ((), *((one,) for one in COMPONENTS), COMPONENTS)
]


@pytest.fixture(params=VARIANTS, ids="+".join)
def manifests(request: pytest.FixtureRequest) -> Manifests:
    """Each overlay, alone, with each component, and with all of them."""
    return overlay(*request.param)


@pytest.fixture(params=OVERLAYS)
def alone(request: pytest.FixtureRequest) -> Manifests:
    """Each overlay without components."""
    return overlay(request.param)


@pytest.fixture
def local() -> Manifests:
    return overlay("local")


@pytest.fixture
def production() -> Manifests:
    return overlay("production")


@pytest.fixture
def expected_secrets() -> Manifests:
    """The Secrets that production documents and needs in the cluster."""
    return Manifests(yaml.safe_load_all((K8S / "overlays/production/secrets.example.yaml").read_text()))
