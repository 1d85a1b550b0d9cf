"""The results as pictures (PNG)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt


def draw_peers(result: dict[str, Any], path: Path) -> None:
    """CPU a message and latency with one worker, messages per second with each number of workers; logarithmic."""
    runs = {workers: figures for workers, figures in result["runs"].items() if figures}
    first = next(iter(runs.values()))
    names = list(first)[::-1]
    figure, (cpu, latency, speed) = plt.subplots(1, 3, figsize=(16, 0.55 * len(names) + 2), sharey=True)
    _bars(cpu, names, {"": [first[name]["cpu_ms"] for name in names]})
    _bars(latency, names, {key[:3]: [first[name][key] for name in names] for key in ("p50_ms", "p99_ms")})
    by_workers = {f"{workers} worker(s)": [figures.get(name, {}).get("messages_per_s", 0) for name in names]
                  for workers, figures in runs.items()}  # fmt: skip
    _bars(speed, names, by_workers)
    for axes, title in ((cpu, "CPU ms a message"), (latency, "latency, ms"), (speed, "messages a second")):
        axes.set_title(title)
    figure.suptitle(_caption(result))
    _save(figure, path)


def draw_growth(result: dict[str, Any], path: Path) -> None:
    """Two curves: cost against size and against the number of rules; both axes logarithmic."""
    figure, (sizes, rules) = plt.subplots(1, 2, figsize=(13, 5))
    for name in ("judging_ms", "decoding_ms"):
        rows = [row for row in result["sizes"] if row[name]]
        sizes.plot([row["bytes"] for row in rows], [row[name] for row in rows], "o-", label=name.partition("_")[0])
    for shape, rows in result["rules"].items():
        rules.plot([row["rules"] for row in rows], [row["cpu_ms"] for row in rows], "o-", label=shape)
    for axes, title in ((sizes, "CPU ms against bytes of a message"), (rules, "CPU ms a message against rules")):
        axes.set(xscale="log", yscale="log", title=title)
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
    figure.suptitle(_caption(result))
    _save(figure, path)


def _bars(axes: Any, names: list[str], groups: dict[str, list[float]]) -> None:
    height = 0.8 / len(groups)
    for number, (label, values) in enumerate(groups.items()):
        places = [place + number * height for place in range(len(names))]
        bars = axes.barh(places, values, height, label=label)
        axes.bar_label(
            bars, fmt=lambda value: f"{value:.3g}" if value < 1000 else f"{value:,.0f}", padding=2, fontsize=8
        )
    axes.set(xscale="log", yticks=[place + 0.4 - height / 2 for place in range(len(names))], yticklabels=names)
    axes.margins(x=0.15)
    if len(groups) > 1:
        axes.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, -0.2), ncols=len(groups))


def _caption(result: dict[str, Any]) -> str:
    machine = result["machine"]
    return f"{machine['cpu']}, {machine['cores']} cores, commit {machine['commit']}, {machine['date']}"


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
