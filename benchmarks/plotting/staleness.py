"""Draws docs/staleness.svg: `staleness.py OUT < FIGURES`, where the figures are JSON from benchmarks/staleness.py.

Only matplotlib is needed, which has an environment of its own.
"""

import json
import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

INK = "#123456"
"""Stands for the colour of text and lines, which follows the reader's light or dark mode."""

STYLE = "<style>svg { color: #1f2328 } @media (prefers-color-scheme: dark) { svg { color: #e6edf3 } }</style>"

COLOURS = ("#d55e00", "#cc79a7", "#e69f00", "#7f8c8d", "#0096d6")
"""Distinct for colour-blind readers, and readable on white and on black."""

LEAST_SECONDS = 0.01
LEAST_SHARE = 0.01
"""Percent."""


def main(path: Path) -> None:
    caches = json.load(sys.stdin)
    mpl.rcParams.update(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "evenkeel",
            "font.family": "sans-serif",
            "font.size": 10,
            **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
        }
    )
    figure = Figure(figsize=(10, 8), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.2)
    shares, times = figure.subplots(1, 2, sharey=True)
    faults = [row["fault"].partition(";")[0] for row in next(iter(caches.values()))]
    height = 0.8 / len(caches)
    for number, (name, rows) in enumerate(caches.items()):
        places = [place + (number - (len(caches) - 1) / 2) * height for place in range(len(rows))]
        colour = COLOURS[number % len(COLOURS)]
        widths = [100 * row["share"] for row in rows]
        shares.barh(places, widths, height * 0.85, color=colour, label=name)
        for place, row in zip(places, rows, strict=True):
            if not row["worst"]:
                continue
            times.plot([row["p50"], row["worst"]], [place, place], color=colour, linewidth=2.5, solid_capstyle="round")
            times.plot(row["worst"], place, "o", color=colour, markersize=6)
    shares.set_xscale("log")
    shares.set_xlim(LEAST_SHARE, 100)
    shares.set_xlabel("share of stale answers, in percent (no bar: none)")
    shares.set_yticks(range(len(faults)), faults)
    shares.invert_yaxis()
    times.set_xscale("log")
    times.set_xlim(LEAST_SECONDS, 150)
    times.set_xlabel("median to worst (dot), in seconds")
    times.axvline(2, color=INK, linewidth=1, linestyle=":")
    times.annotate("2 s", (2, 1), xycoords=("data", "axes fraction"), xytext=(4, 4), textcoords="offset points")
    for axes in (shares, times):
        axes.patch.set_alpha(0)
        axes.set_axisbelow(True)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.grid(axis="x", color=INK, alpha=0.15)
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right"]].set_visible(False)
    figure.patch.set_alpha(0)
    figure.legend(*shares.get_legend_handles_labels(), loc="outside upper center", ncols=len(caches), frameon=False)
    figure.savefig(path, metadata={"Date": None, "Title": "Stale answers of five caches under faults"})
    text = path.read_text().replace(INK, "currentColor")
    head, opening, rest = text.partition("<svg")
    attributes, end, body = rest.partition(">")
    path.write_text(f"{head}{opening}{attributes}{end}\n {STYLE}{body}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
