"""Where the local stack's processes are.

Without arguments: the servers' addresses, as lines for a shell. With `pid SERVICE` or `url SERVICE`: those of the
service's replicas.
"""

import json
import shlex
import subprocess
import sys

VARIABLES = {"postgres": "DATABASE_URL", "redis-cache": "REDIS_URL", "redis-counters": "COUNTERS_URL"}

status = json.loads(subprocess.run(["stack", "status", "--json"], stdout=subprocess.PIPE, check=False).stdout)
if not status["gateway"]:
    sys.exit("The stack is not running: `make up` starts it. Then source this file again.")
if len(sys.argv) == 3:
    _, column, service = sys.argv
    print(*(process[column] for process in status["processes"] if process["service"] == service))
else:
    addresses = {VARIABLES[p["service"]]: p["url"] for p in status["processes"] if p["service"] in VARIABLES}
    for variable, address in {"EVENKEEL": status["gateway"], **addresses}.items():
        print(f"export {variable}={shlex.quote(address)}")
