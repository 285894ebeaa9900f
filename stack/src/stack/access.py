"""Access control at the gateway: open to everybody, or only with a token signed by this stack's keys."""

import json
from pathlib import Path
from typing import Any, Literal, get_args

Access = Literal["open", "tokens"]

FILES = ("filter.yaml", "clusters.yaml")

CHOICES: tuple[Access, ...] = get_args(Access)
DEFAULT: Access = "open"


def configuration(folder: Path, access: Access, signing_keys: Path) -> dict[str, dict[str, Any]]:
    """Envoy's files for this kind of access, by name, from the repository's folder `gateway/access`.

    The public keys are written into the filter itself: Envoy takes a changed filter live, but not a changed file of
    keys that it refers to.
    """
    from stack.signing_keys import SigningKeys  # noqa: PLC0415 (as above)
    from stack.yaml_files import read_yaml  # noqa: PLC0415 (the command line needs only the names above)

    documents = {name: read_yaml(folder / access / name) for name in FILES}
    if access == "tokens":
        [resource] = documents["filter.yaml"]["resources"]
        keys = SigningKeys.load_or_create(signing_keys).public()
        for provider in resource["typed_config"]["providers"].values():
            if "local_jwks" in provider:  # else the keys come from a URL
                provider["local_jwks"] = {"inline_string": json.dumps(keys)}
    return documents
