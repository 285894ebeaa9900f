"""The findings as one HTML file that refers to nothing else."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

from demo.bars import shares
from demo.findings import Bar, Finding

TEMPLATE = Path(__file__).with_name("page.html")


def page(findings: Sequence[Finding], result: str, when: str) -> str:
    """`result` and `when` are sentences at the top."""
    return Template(TEMPLATE.read_text()).substitute(
        result=escape(result), when=escape(when), sections="\n".join(map(_section, findings))
    )


def _section(finding: Finding) -> str:
    rows = "\n".join(_row(bar, share) for bar, share in zip(finding.bars, shares(finding.bars), strict=True))
    missing = "".join(
        f'\n<p class="missing">The difference did not show: {escape(reason)}.</p>' for reason in finding.missing
    )
    return (
        f"<section>\n<h2>{escape(finding.title)}</h2>\n<p>{escape(finding.line)}</p>\n<dl>\n{rows}\n</dl>{missing}"
        "\n</section>"
    )


def _row(bar: Bar, share: float) -> str:
    # Without a value there is no bar. A very short one is still seen.
    width = f"max(2px, {100 * share:.2f}%)" if share else "0"
    rect = f'<rect height="100%" style="width: {width}"/>'
    text = f"{bar.text}, and longer" if bar.lasting else bar.text
    return (
        f'<div class="{bar.system.lower()}"><dt>{bar.system}</dt><dd>{escape(text)}</dd>'
        f'<svg aria-hidden="true">{rect}</svg></div>'
    )
