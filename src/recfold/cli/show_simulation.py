"""Prints simulated steps, curves of them, and how far they are from measured ones."""

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from recfold.plan.simulate import PHASES, Point, Step
from recfold.train import CheckedStep


def show_step(console: Console, step: Step, samples: int) -> None:
    """Phase by phase, and the step."""
    shown = Table("phase", "slowest rank", "mean", "rank", title="milliseconds of a step")
    for name in PHASES:
        own = step.phases[name]
        shown.add_row(name, f"{own.max():.3f}", f"{own.mean():.3f}", str(int(own.argmax())))
    console.print(shown, highlight=False)
    for line in step_lines(step, samples):
        console.print(line, highlight=False, soft_wrap=True)


def step_lines(step: Step, samples: int) -> list[str]:
    """What is said under the table."""
    way = "exchanges beside computing" if step.overlap else "one phase after the other"
    found = [
        f"a step takes {step.ms:.3f} ms ({way}): {samples / step.ms * 1e3:,.0f} samples a second; "
        f"rank {step.slowest} is the slowest"
    ]
    if step.cores_ms > step.path_ms:
        found.append(f"bound by the host's cores: without that it would be {step.path_ms:.3f} ms")
    return found


def show_curve(console: Console, points: Sequence[Point]) -> None:
    """A line a size."""
    shown = Table(
        "ranks", "step", "samples a second", "of linear", *PHASES, title="scaling: planned again for each size"
    )
    first = next((point for point in points if point.step is not None), None)
    for point in points:
        if point.step is None or first is None:
            shown.add_row(str(point.ranks), "does not fit")
            continue
        linear = first.samples_per_s * point.ranks / first.ranks
        parts = [f"{point.step.phase_ms(name):.2f}" for name in PHASES]
        speed = (
            f"{point.step.ms:.2f} ms",
            f"{point.samples_per_s:,.0f}",
            f"{100 * point.samples_per_s / linear:.0f} %",
        )
        shown.add_row(str(point.ranks), *speed, *parts)
    console.print(shown, highlight=False)
    for point in points:
        if point.problem:
            console.print(f"{point.ranks} ranks: {point.problem}", highlight=False, soft_wrap=True)


def show_checked(console: Console, found: Sequence[CheckedStep]) -> None:
    """Predicted beside measured."""
    shown = Table("run", "ranks", "measured", "simulated", "error", "lookup", "exchange", "dense", "reading")
    for own in found:
        exchange = sum(own.step.phase_ms(name) for name in ("ids", "vectors", "gradients", "all-reduce"))
        table = own.step.phase_ms("lookup") + own.step.phase_ms("update")
        dense = own.step.phase_ms("forward") + own.step.phase_ms("backward")
        parts = [f"{ms:.1f}" for ms in (table, exchange, dense, own.read_ms)]
        shown.add_row(
            own.run,
            str(own.ranks),
            f"{own.measured_ms:.1f} ms",
            f"{own.step.ms:.1f} ms",
            f"{100 * own.error:+.0f} %",
            *parts,
        )
    console.print(shown, highlight=False)


def step_json(step: Step, samples: int) -> str:
    """Everything of `show_step`."""
    return json.dumps(_step(step) | {"samples_per_s": samples / step.ms * 1e3}, indent=1)


def curve_json(points: Sequence[Point]) -> str:
    """Everything of `show_curve`."""
    rows = [
        {"ranks": point.ranks, "problem": point.problem}
        if point.step is None
        else {"ranks": point.ranks, "samples_per_s": point.samples_per_s, **_step(point.step)}
        for point in points
    ]
    return json.dumps(rows, indent=1)


def checked_json(found: Sequence[CheckedStep]) -> str:
    """Everything of `show_checked`."""
    rows = [
        {"run": own.run, "ranks": own.ranks, "measured_ms": own.measured_ms, "error": own.error, **_step(own.step)}
        for own in found
    ]
    return json.dumps(rows, indent=1)


def _step(step: Step) -> dict[str, Any]:
    return {
        "ms": step.ms,
        "path_ms": step.path_ms,
        "cores_ms": step.cores_ms,
        "slowest_rank": step.slowest,
        "phases_ms": {name: step.phases[name].tolist() for name in PHASES},
    }
