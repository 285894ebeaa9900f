"""The tables of docs/scaling.md, and how alike light and real replicas are."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from benchmarks.fleet.costs import Costs
from benchmarks.fleet.lines import Line, through
from benchmarks.fleet.meters import Reading
from benchmarks.goals import Goal
from benchmarks.tables import show

LIKE = 0.15
"""By which share light replicas may differ from real ones."""

UNCERTAIN = 0.3
"""Figures for one event that differ by less are alike: PostgreSQL counts transactions up to a second late."""

LEAST = 2
"""Fleets that kept up, for a line through them. If fewer did, all count."""

CALCULATED = (1_000, 2_000)
"""Replicas of fleets that no measurement had."""

BUSY = 0.7
"""The share of its core that Redis may use. Its answers take longer and longer beyond that."""

WRITES = (1, 10, 100, 1_000)
"""Writes a second, in all."""

KINDS = {
    "write": "a write",
    "cold": "a cold read",
    "hit": "a read from Redis",
    "hot": "a write of a user that all replicas read",
}

Figure = Callable[[Costs], float]

_REST: dict[str, tuple[Figure, str]] = {
    "Redis commands": (lambda c: c.rest.commands, ",.0f"),
    "Redis in, KB": (lambda c: c.rest.bytes_in / 1000, ",.1f"),
    "Redis out, KB": (lambda c: c.rest.bytes_out / 1000, ",.1f"),
    "Redis CPU, ms": (lambda c: c.rest.redis_cpu * 1000, ",.1f"),
    "PostgreSQL transactions": (lambda c: c.rest.transactions, ",.1f"),
    "PostgreSQL CPU, ms": (lambda c: c.rest.postgres_cpu * 1000, ",.1f"),
    "connections to Redis": (lambda c: c.redis_connections, ",.0f"),
    "to PostgreSQL": (lambda c: c.postgres_connections, ",.0f"),
}

_EACH: dict[str, tuple[Callable[[Reading], float], str]] = {
    "Redis commands": (lambda r: r.commands, ",.1f"),
    "Redis in, bytes": (lambda r: r.bytes_in, ",.0f"),
    "Redis out, bytes": (lambda r: r.bytes_out, ",.0f"),
    "Redis CPU, µs": (lambda r: r.redis_cpu * 1e6, ",.0f"),
    "PostgreSQL transactions": (lambda r: r.transactions, ",.1f"),
    "PostgreSQL CPU, µs": (lambda r: r.postgres_cpu * 1e6, ",.0f"),
}


def show_fleets(real: Sequence[Costs], light: Sequence[Costs], larger: Sequence[int]) -> None:
    """`larger` are fleets that were not run, because this machine is too small. They are calculated."""
    known = _known(light)
    print("\nAt rest, in a second. ≈ is calculated: this machine was too small or too busy\n")
    rows = [
        [*row, f"{costs.rest.clients_cpu:.2f}", f"{costs.late * 1000:,.0f}"]
        for row, costs in zip(_rows(real, light, known, _REST.values()), [*real, *light], strict=True)
    ]
    rows += [[*row, "", ""] for row in _calculated_rows(larger, known, _REST.values())]
    show(["replicas", *_REST, "CPU of the replicas, cores", "late, ms"], rows)
    for kind, title in KINDS.items():
        print(f"For {title}, beyond what the fleet needs at rest\n")
        figures = [(_each(kind, what), form) for what, form in _EACH.values()]
        rows = [*_rows(real, light, known, figures), *_calculated_rows(larger, known, figures)]
        show(["replicas", *_EACH], rows)


def show_lines(light: Sequence[Costs]) -> None:
    """What is the same in every fleet, and what grows with it."""
    known = _known(light)
    lines = {f"{name}, at rest, a second": _line(known, figure) for name, (figure, _) in _REST.items()}
    for kind in ("write", "hot"):
        lines |= {f"{name}, for {KINDS[kind]}": _line(known, _each(kind, what)) for name, (what, _) in _EACH.items()}
    print("The straight lines through these figures, and larger fleets by them\n")
    show(
        ["", "fixed", "each replica", *(f"≈ {replicas:,} replicas" for replicas in CALCULATED)],
        [
            [name, f"{line.fixed:,.1f}", f"{line.each:,.2f}", *(f"{line.at(size):,.0f}" for size in CALCULATED)]
            for name, line in lines.items()
        ],
    )


def show_limits(light: Sequence[Costs]) -> None:
    """How many replicas one Redis carries. Its CPU time at rest and for writes is that of the lines."""
    known = _known(light)
    rest, rest_out = (_line(known, figure) for figure in (lambda c: c.rest.redis_cpu, lambda c: c.rest.bytes_out))
    out = _line(known, lambda costs: costs.each["write"].bytes_out)
    write, hot = (_line(known, _each(kind, lambda reading: reading.redis_cpu)) for kind in ("write", "hot"))
    print(f"≈ Replicas until Redis uses {BUSY:.0%} of a core\n")
    rows = []
    for writes in WRITES:
        most, most_hot = (_carried(rest, line, writes) for line in (write, hot))
        sent = rest_out.at(most) + writes * out.at(most)
        rows.append([f"{writes:,}", f"{most:,.0f}", f"{sent / 1e6:,.1f}", f"{most_hot:,.0f}"])
    show(["writes a second", "replicas", "Redis out, MB/s", "replicas, if all read what is written"], rows)


def show_sidecars(alone: Costs, followed: Costs, sidecars: int) -> None:
    """What one more replica of Redis costs the primary."""
    print("For each sidecar, on the primary\n")
    pairs = [("at rest, a second", alone.rest, followed.rest)]
    pairs += [(KINDS[kind], alone.each[kind], followed.each[kind]) for kind in ("write", "cold")]
    rows = []
    for title, without, with_them in pairs:
        more = with_them.minus(without).over(sidecars)
        rows.append([title, f"{more.replicated:,.0f}", f"{more.redis_cpu * 1e6:,.0f}"])
    show(["", "bytes to it", "Redis CPU, µs"], rows)


def likeness(pairs: Sequence[tuple[Costs, Costs]]) -> Iterator[Goal]:
    """The largest difference between a real fleet and a light one. CPU times of such small fleets are noise."""
    for real, light in pairs:
        figures = {f"{name} at rest": (figure, 0.0) for name, (figure, _) in _REST.items() if "CPU" not in name}
        figures |= {
            f"{name} for {KINDS[kind]}": (_each(kind, what), UNCERTAIN)
            for kind in ("write", "cold", "hit")
            for name, (what, _) in _EACH.items()
            if "CPU" not in name
        }
        worst, name = max(
            (_difference(figure(real), figure(light), same), name) for name, (figure, same) in figures.items()
        )
        yield Goal(f"{real.replicas} light / real, largest difference: {name}", 1 + worst, most=1 + LIKE, noise=0)


def _difference(one: float, other: float, same: float) -> float:
    """As a share of the smaller one. Figures that differ by less than `same` do not differ."""
    if abs(one - other) <= same:
        return 0.0
    small, large = sorted((abs(one), abs(other)))
    return large / small - 1 if one * other > 0 else float("inf")


def _carried(rest: Line, write: Line, writes: float) -> float:
    """The replicas with which a fleet at rest and its writes use up Redis."""
    left, each = BUSY - rest.fixed - writes * write.fixed, rest.each + writes * write.each
    return max(0.0, left / each) if each > 0 else float("inf")


def _known(light: Sequence[Costs]) -> Sequence[Costs]:
    """The fleets that others are calculated from."""
    kept_up = [costs for costs in light if costs.fits]
    return kept_up if len(kept_up) >= LEAST else light


def _rows(
    real: Sequence[Costs], light: Sequence[Costs], known: Sequence[Costs], figures: Iterable[tuple[Figure, str]]
) -> Iterator[list[str]]:
    figures = list(figures)
    for costs in [*real, *light]:
        if costs in real or costs in known:
            yield [costs.name, *(format(figure(costs), form) for figure, form in figures)]
        else:
            yield from _calculated_rows([costs.replicas], known, figures)


def _calculated_rows(
    sizes: Iterable[int], known: Sequence[Costs], figures: Iterable[tuple[Figure, str]]
) -> Iterator[list[str]]:
    figures = list(figures)
    for size in sizes:
        yield [f"≈ {size} light", *(format(_line(known, figure).at(size), form) for figure, form in figures)]


def _line(known: Sequence[Costs], figure: Figure) -> Line:
    return through([(costs.replicas, figure(costs)) for costs in known])


def _each(kind: str, what: Callable[[Reading], float]) -> Figure:
    return lambda costs: what(costs.each[kind])
