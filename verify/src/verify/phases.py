"""The phases of a verification."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from stack.errors import UsageError
from verify.deployment import Deployment, Local


class Disruption(Protocol):
    """Something that is done to a service while it is used."""

    @property
    def service(self) -> str | None:
        """The service that must be a process of the stack; None if there is no such condition."""


@dataclass(frozen=True)
class Plan:
    """The wanted phases. Each verifier adds its load."""

    phases: Sequence[str] | None
    """Names; None: all phases that are possible."""


@dataclass(frozen=True)
class Phases:
    """All phases, in their order."""

    anywhere: Sequence[str]
    """Phases that break nothing, and are possible in every deployment."""
    disruptions: Mapping[str, Disruption]
    """Phases of the local stack."""

    def read(self, text: str | None, *, elsewhere: bool) -> Sequence[str] | None:
        """The names in `--faults`, or None if it was not given.

        Raises UsageError for a name that is not possible in the local stack or, with `elsewhere`, in any deployment.
        """
        if text is None:
            return None
        names = text.split(",")
        possible = list(self.anywhere) if elsewhere else list(dict.fromkeys([*self.anywhere, *self.disruptions]))
        for name in names:
            if name not in possible:
                where = "with --target" if elsewhere else "in the local stack"
                raise UsageError(f"--faults: {name!r} is not possible {where}; choose from {', '.join(possible)}")
        return names

    def possible(self, deployment: Deployment) -> list[str]:
        """The phases whose processes the deployment has."""
        if not isinstance(deployment, Local):
            return list(self.anywhere)
        own = [
            name
            for name, disruption in self.disruptions.items()
            if disruption.service is None or deployment.pids(disruption.service)
        ]
        return list(dict.fromkeys([*self.anywhere, *own]))

    def of(self, plan: Plan, deployment: Deployment) -> Sequence[str]:
        return self.possible(deployment) if plan.phases is None else plan.phases
