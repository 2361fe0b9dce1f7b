"""A plot of a report: F1 of each method with its 95 % interval, overall and by kind of question.

Colours are Okabe and Ito's, told apart by colour-blind readers; every bar carries its value, so that colour is never needed.
"""

from __future__ import annotations

import io
from typing import Any

from prag_core.evaluation.extra import require
from prag_core.evaluation.report import Group, MethodResult, Report

require("matplotlib")

PALETTE = ("#999999", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#555555"


def draw(report: Report) -> Any:
    """Draw a matplotlib figure: a wide panel of all questions, and a small one for each kind where there are several."""
    from matplotlib.figure import Figure  # slow to import; no pyplot: no global state, no display

    methods = list(report.methods)
    (title, groups), *small = _panels(report)
    rows = 2 if small else 1
    figure = Figure(figsize=(9.0, rows * (0.7 + 0.34 * len(methods))), layout="constrained")
    top, *below = figure.subfigures(rows, 1, squeeze=False)[:, 0]
    _panel(top.subplots(), title, groups, methods)
    for subfigure in below:
        axes = subfigure.subplots(1, len(small), sharey=True, squeeze=False)[0]
        for axis, (title, groups) in zip(axes, small, strict=True):
            _panel(axis, title, groups, methods)
    figure.supxlabel("F1 in per cent, with 95 % bootstrap intervals over questions", fontsize=8, color=GREY)
    return figure


def render(report: Report, format: str) -> bytes:
    """Render the plot to bytes; `format` is "png" (200 dots an inch) or "svg" (without a date: equal reports, equal bytes)."""
    import matplotlib  # slow to import

    buffer = io.BytesIO()
    metadata = {"Date": None} if format == "svg" else None
    with matplotlib.rc_context({"svg.hashsalt": "prag", "font.family": "DejaVu Sans"}):
        draw(report).savefig(buffer, format=format, dpi=200, metadata=metadata)
    return buffer.getvalue()


def _panels(report: Report) -> list[tuple[str, list[Group | MethodResult]]]:
    """List (title, a group for each method) for all questions, then each type where there are several, then asked and unasked."""
    results = list(report.methods.values())
    panels: list[tuple[str, list[Group | MethodResult]]] = [
        (f"all questions ({report.num_questions})", list(results))
    ]
    first = results[0]
    names = (list(first.by_type) if len(first.by_type) > 1 else []) + list(first.by_asked)
    for name in names:
        groups: list[Group | MethodResult] = [
            {**result.by_type, **result.by_asked}[name] for result in results
        ]
        panels.append((f"{name} ({groups[0].num_questions})", groups))
    return panels


def _panel(axis: Any, title: str, groups: list[Group | MethodResult], methods: list[str]) -> None:
    values = [100 * group.f1 for group in groups]
    colours = [PALETTE[i % len(PALETTE)] for i in range(len(groups))]
    axis.barh(range(len(groups)), values, height=0.7, color=colours, zorder=2)
    for row, (group, value) in enumerate(zip(groups, values, strict=True)):
        low, high = (100 * bound for bound in group.f1_ci)
        axis.plot([low, high], [row, row], color="black", linewidth=1.2, solid_capstyle="butt", zorder=3)
        axis.annotate(
            f"{value:.1f}",
            (max(high, value), row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axis.set_title(title, fontsize=9, loc="left")
    axis.set_xlim(0, 100)
    axis.set_xticks([0, 50, 100])
    axis.set_yticks(range(len(methods)), methods)
    axis.set_ylim(len(methods) - 0.5, -0.5)
    axis.tick_params(axis="x", length=0, labelsize=8, labelcolor=GREY)
    axis.tick_params(axis="y", length=0, labelsize=9)
    axis.grid(axis="x", color="#dddddd", linewidth=0.8, zorder=0)
    for side in ("top", "right", "bottom"):
        axis.spines[side].set_visible(False)
