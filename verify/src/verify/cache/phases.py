"""All phases of a verification of the cache."""

from verify.cache.faults import FAULTS
from verify.cache.scenarios import SCENARIOS
from verify.phases import Phases

PHASES = Phases(anywhere=["none"], disruptions={**FAULTS, **SCENARIOS})
