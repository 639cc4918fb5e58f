"""Bytes a sample of `lr`, `fm` and `deepfm` on the workload `multihot`, against a synchronous parameter server."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recfold.bench.exchange.multihot_rank import Multihot
from recfold.bench.facts import machine_facts
from recfold.bench.measurement import Measurement
from recfold.spec import InputError

LARGEST_DIFFERENCE = 1e-5
"""Of a step's losses, relative: both sides train the same model."""


def multihot_measurements(work: Multihot | None = None, *, timeout_s: float = 1800.0) -> list[Measurement]:
    """Train the same batches with recfold's tables and with a parameter server, on as many Gloo ranks; count bytes.

    Sizes, ids, lengths, rows and gradients are counted on both sides, by their senders; the dense gradient, which is
    the same on both, is not.

    Args:
        work: None for the standard workload.
        timeout_s: for all of it.
    Returns:
        One measurement a model: bytes a sample, as case `multihot-MODEL`.
    Raises:
        InputError: a rank failed, or the losses of both sides differ.
    """
    work = work or Multihot()
    with tempfile.TemporaryDirectory() as name:
        ranks = _run(work, Path(name), timeout_s)
    return [_measurement(work, model, [own[model] for own in ranks]) for model in work.models]


def _run(work: Multihot, folder: Path, timeout_s: float) -> list[dict[str, Any]]:
    """What each rank found."""
    (folder / "work.json").write_text(work.model_dump_json())
    command = [sys.executable, "-m", "recfold.bench.exchange.multihot_rank", str(folder)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen([*command, str(rank)], env=env, stderr=subprocess.PIPE, text=True)
        for rank in range(work.ranks)
    ]
    try:
        for rank, process in enumerate(started):
            _, errors = process.communicate(timeout=timeout_s)
            if process.returncode != 0:
                last = errors.strip().splitlines()[-1:] or ["nothing"]
                raise InputError(f"rank {rank} of the bench failed", got=last[0])
    except subprocess.TimeoutExpired:
        raise InputError(f"the bench did not end within {timeout_s:.0f} s", todo="give fewer --steps") from None
    finally:
        for process in started:
            process.kill()
            process.communicate()
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(work.ranks)]


def _measurement(work: Multihot, model: str, ranks: Sequence[dict[str, Any]]) -> Measurement:
    _check_losses(model, ranks[0]["ours losses"], ranks[0]["peer losses"])
    samples = work.batch_size * work.steps * work.ranks
    ours, peer = (_bytes_a_sample(ranks, side, samples) for side in ("ours", "peer"))
    total, peer_total = sum(ours.values()), sum(peer.values())
    settings = {
        "workload": "multihot",
        **work.model_dump(mode="json", exclude={"models"}),
        "ours_by_kind": ours,
        "peer_by_kind": peer,
        "losses": ranks[0]["ours losses"],
        "distinct_share": sum(own["distinct share"] for own in ranks) / len(ranks),
        "chosen": ranks[0]["notes"],
        **machine_facts(),
    }
    return Measurement(
        "exchange",
        f"multihot-{model}",
        "bytes_per_sample",
        total,
        peer_total,
        "parameter-server",
        peer_total / total,
        "bytes/sample",
        settings,
    )


def _bytes_a_sample(ranks: Sequence[dict[str, Any]], side: str, samples: int) -> dict[str, float]:
    kinds = sorted({kind for own in ranks for kind in own[side]})
    return {kind: sum(own[side].get(kind, 0) for own in ranks) / samples for kind in kinds}


def _check_losses(model: str, ours: Sequence[float], peer: Sequence[float]) -> None:
    for step, (own, other) in enumerate(zip(ours, peer, strict=True)):
        if abs(own - other) > LARGEST_DIFFERENCE * abs(own):
            raise InputError(
                f"the sides train different models: loss of {model} at step {step}", got=other, expected=own
            )
