"""What traces cost hits in memory and plain increments: without, with one request in a hundred traced, and with all.

First in one process, without a network, which shows small differences also on a busy machine; then with real servers.
"""

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.goals import Goal, report
from benchmarks.http_requests import in_turn, with_body
from benchmarks.releases import HERE, Release
from benchmarks.rounds import Contestant, Options, Result, compete, show_results
from benchmarks.serving import ROOT, Cores, Program, counter_api, pinned_servers, redis_database, user_api
from benchmarks.tables import show
from benchmarks.users import populate, reads, warm

USERS = 100
WAYS = {"without traces": None, "one in a hundred traced": "0.01", "all traced": "1"}

SHARE = 0.01


def measure(options: Options) -> None:
    _measure_in_one_process(options)
    cores = Cores.of_this_machine()
    ids = range(1, USERS + 1)
    increments = in_turn([with_body("POST", f"/v1/counters/{n}/increment") for n in ids])
    with pinned_servers(cores.load) as servers, _collector() as collector:
        database = populate(servers.postgres, "traces", USERS)
        memory = user_api(database, redis_database(servers.redis_cache, 0), tiers="memory,redis")
        counters = counter_api(servers.redis_counters)
        contestants = [
            *(
                Contestant(
                    _name("memory hit", way), _traced(memory, collector, share), in_turn(reads(ids)), b'"memory"'
                )
                for way, share in WAYS.items()
            ),
            *(
                Contestant(_name("increment", way), _traced(counters, collector, share), increments, b'"value"')
                for way, share in WAYS.items()
            ),
        ]
        results = compete(contestants, cores.servers, options, lambda running: warm(running[: len(WAYS)], ids))
    show_results(results, results[_name("memory hit", "without traces")], options)
    report(_goals(results))


def _measure_in_one_process(options: Options) -> None:
    core, goals = Cores.of_this_machine().servers, []
    for request, service in (("memory hit", "users"), ("increment", "counters")):
        with _collector() as collector:
            cost = _least(HERE, core, service, collector)
        print(f"{request}, in one process:\n")
        show(["", "CPU, µs"], [(kind, f"{least:.1f}") for kind, least in cost.items()])
        for parent in ("", ", with a parent"):
            some = (1 - SHARE) * cost[f"not sampled{parent}"] + SHARE * cost["sampled"]
            text = f"{request}, in one process{parent}: one in a hundred traced / without traces"
            goals.append(Goal(text, some / cost[f"off{parent}"], most=1.05))
        if options.against is not None:
            # In turn, since two processes of the same code differ, too.
            figures = [[_least(release, core, service)["off"] for release in options.releases] for _ in range(5)]
            here, there = (min(column) for column in zip(*figures, strict=True))
            goals.append(Goal(f"{request}, without traces / at {options.against.name}", here / there, most=1))
    report(goals)


def _least(release: Release, core: int, service: str, *collector: str) -> dict[str, float]:
    script = ROOT / "benchmarks" / "without_a_network.py"
    program = [str(release.programs / "python"), str(script), service, *collector]
    run = subprocess.run(["taskset", "--cpu-list", str(core), *program], check=True, capture_output=True, text=True)
    kinds: dict[str, float] = json.loads(run.stdout)
    return kinds


def _name(request: str, way: str) -> str:
    return f"{request}, {way}"


def _traced(program: Program, collector: str, share: str | None) -> Program:
    if share is None:
        return program
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": share,
    }
    return replace(program, environment={**program.environment, **settings})


def _goals(results: Mapping[str, Result]) -> Iterator[Goal]:
    for request in ("memory hit", "increment"):
        off, some, every = (results[_name(request, way)].cost for way in WAYS)
        yield Goal(f"{request}: one in a hundred traced / without traces", some / off, most=1.05)
        yield Goal(f"{request}: all traced / without traces (no goal)", every / off, least=0)


@contextmanager
def _collector() -> Iterator[str]:
    """Takes spans and drops them."""

    class Dropping(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Dropping)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
