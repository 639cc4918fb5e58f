"""`synth`: two logs, their features.toml and the planted truth, written part by part."""

import json
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recfold.logs.synth.files import Writer, impressions_path, outcomes_path, schema_text
from recfold.logs.synth.lists import candidate_ids, draw_source, raw_ids
from recfold.logs.synth.lists import features as id_features
from recfold.logs.synth.sessions import MEAN_SIZE, Samples, arrivals
from recfold.logs.synth.truth import BayesAuc, Truth, clicks, plant
from recfold.logs.synth.workloads import Workload, workload_named
from recfold.spec import InputError

PART_SAMPLES = 131_072
_THREADS = 2
_SESSIONS_PER_USER = 1.5

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class SynthResult:
    """What `synth` wrote; also `synth.json`.

    Args:
        path: folder of the logs.
        change, shift: probabilities that a user group, a window group changes at the next sample of a session.
        positives: samples with a click.
        bayes_auc: AUC of the true probabilities over all samples: no model is better but by luck.
        bayes_auc_last_tenth: the same over the last tenth by time, which the fold holds out by default.
    """

    path: Path
    workload: str
    samples: int
    sessions: int
    seed: int
    skew: float
    change: tuple[float, ...]
    shift: tuple[float, ...]
    positives: int
    bayes_auc: float
    bayes_auc_last_tenth: float


@dataclass(frozen=True)
class _Part:
    """One part of both logs, written: P(click) of its samples, how many clicked, and sessions up to its newest."""

    probability: np.ndarray
    positives: int
    sessions: int


def synth(
    out: Path,
    *,
    workload: str = "pooled",
    samples: int = 1_000_000,
    seed: int = 0,
    repeat: float | None = None,
    skew: float = 1.05,
    change: tuple[float, ...] | None = None,
    progress: Progress | None = None,
) -> SynthResult:
    """Write synthetic impressions and outcomes whose users repeat as planted.

    The same arguments give the same bytes. Memory is bounded, whatever `samples` is.

    Args:
        out: folder to make; must not exist or be empty.
        workload: `pooled`, `catalog`, `sequence` or `multihot`.
        samples: rows of the impressions log.
        seed: of everything.
        repeat: probability that a user (or window) group does not change at the next sample of its session, for all
            groups; None keeps the workload's own probabilities. Not for `multihot`, where nothing repeats.
        skew: exponent of the Zipf-like law of the raw ids; 0 is uniform.
        change: probability of change for each user group instead, which also says how many groups there are.
        progress: called with ("samples written", done, total).
    Raises:
        InputError: a value out of range, an unknown workload, or a folder that is not empty; nothing is written.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result = synth(Path(folder) / "logs", samples=500, seed=1)
        >>> result.samples, 0.7 < result.bayes_auc < 0.9
        (500, True)
    """
    law = workload_named(workload, repeat, change)
    _check(samples, seed, skew)
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not an empty folder", todo="name another folder, or remove it")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise InputError(f"cannot write to {out.parent}", got=str(error)) from None
    try:
        result = _write(draft, out, law, samples, seed, skew, progress)
        draft.chmod(0o755)
        if out.exists():
            out.rmdir()
        draft.rename(out)
    except OSError as error:
        raise InputError(f"cannot write to {out}", got=str(error)) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return result


def _write(
    draft: Path,
    out: Path,
    workload: Workload,
    samples: int,
    seed: int,
    skew: float,
    progress: Progress | None,
) -> SynthResult:
    source = draw_source(workload, seed, skew)
    raw = {name: raw_ids(seed, *about) for name, about in id_features(workload).items()}
    users = max(round(samples / MEAN_SIZE / _SESSIONS_PER_USER), 1)
    maker = _Maker(plant(source), Writer(draft, source, raw, users, candidate_ids(workload, seed)))
    auc, last_auc = BayesAuc(), BayesAuc()
    done = positives = sessions = 0
    for path in (impressions_path(draft, 0), outcomes_path(draft, 0)):
        path.parent.mkdir()
    for part in _ahead(maker.make, arrivals(samples, seed, workload.change, workload.shift, PART_SAMPLES)):
        auc.add(part.probability)
        last_auc.add(part.probability[max(samples - max(samples // 10, 1) - done, 0) :])
        done += len(part.probability)
        positives += part.positives
        sessions = max(sessions, part.sessions)
        if progress is not None:
            progress("samples written", done, samples)
    result = SynthResult(
        path=out,
        workload=workload.name,
        samples=samples,
        sessions=sessions,
        seed=seed,
        skew=skew,
        change=workload.change,
        shift=workload.shift,
        positives=positives,
        bayes_auc=round(auc.value(), 6),
        bayes_auc_last_tenth=round(last_auc.value(), 6),
    )
    (draft / "features.toml").write_text(schema_text(workload), encoding="utf-8")
    facts = {key: value for key, value in vars(result).items() if key != "path"}
    (draft / "synth.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return result


@dataclass(frozen=True)
class _Maker:
    truth: Truth
    writer: Writer

    def make(self, index: int, samples: Samples) -> _Part:
        source = self.writer.source
        probability = self.truth.probability(source, samples)
        clicked = clicks(source.seed, samples, probability)
        self.writer.write(index, index * PART_SAMPLES, samples, clicked)
        return _Part(probability, int(clicked.sum()), int(samples.session.max()) + 1)


def _ahead(make: Callable[[int, Samples], _Part], parts: Iterator[Samples]) -> Iterator[_Part]:
    """Make parts on two threads, in order, no more than one waiting."""
    with ThreadPoolExecutor(_THREADS) as pool:
        under_way: deque[Future[_Part]] = deque()
        for index, part in enumerate(parts):
            under_way.append(pool.submit(make, index, part))
            if len(under_way) > _THREADS:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def _check(samples: int, seed: int, skew: float) -> None:
    if samples < 1:
        raise InputError("samples must be positive", got=samples)
    if not 0 <= seed < 1 << 63:
        raise InputError("seed is out of range", got=seed, expected="0 to 2**63 - 1")
    if not 0.0 <= skew <= 10.0:
        raise InputError("skew is out of range", got=skew, expected="0 to 10")
