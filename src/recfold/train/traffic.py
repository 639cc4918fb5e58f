"""Exactly what crossed the wire in training steps, by kind: counted by who sends it, summed over ranks when asked."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from recfold.spec import Settings
from recfold.train.parallelize import Spread
from recfold.train.ranks import Ranks

KINDS = ("sizes", "ids", "lengths", "weights", "vectors", "gradients", "norms")
"""What the tables' exchanges send; `dense` is counted apart."""
DENSE = "dense"


class Traffic:
    """Bytes that this rank has sent in training steps, each with the step it was sent for.

    Ids of a batch may cross during the step before; evaluations and checkpoints in between are not counted.
    """

    def __init__(self, spread: Spread) -> None:
        self._spread = spread
        self._steps = self._samples = 0
        self._sent: Counter[str] = Counter()
        self._before: Mapping[str, int] = {}

    def begin_step(self) -> None:
        """Forget what was sent since the last step."""
        for wire in self._spread.wires:
            wire.take()
        self._before = dict(self._spread.overlap.ahead_bytes)

    def end_step(self, samples: int) -> None:
        """Count what was sent for a step.

        Args:
            samples: of all ranks.
        """
        self._sent.update(self._before)
        for wire in self._spread.wires:
            self._sent.update(wire.take())
        self._sent.subtract(self._spread.overlap.ahead_bytes)
        self._steps += 1
        self._samples += samples

    def so_far(self) -> "Sent":
        """Everything that this rank has counted."""
        return Sent(self._steps, self._samples, {kind: self._sent[kind] for kind in (*KINDS, DENSE)})


@dataclass(frozen=True)
class Sent:
    """Bytes of some steps.

    Args:
        samples: of all ranks.
        sent_bytes: by kind.
    """

    steps: int
    samples: int
    sent_bytes: Mapping[str, int]

    def since(self, earlier: "Sent | None") -> "Sent":
        """What came after an earlier look."""
        if earlier is None:
            return self
        more = {kind: number - earlier.sent_bytes[kind] for kind, number in self.sent_bytes.items()}
        return Sent(self.steps - earlier.steps, self.samples - earlier.samples, more)

    def over(self, ranks: Ranks) -> "Sent":
        """The sum over ranks; every one of them asks."""
        every = ranks.numbers([float(number) for number in self.sent_bytes.values()]).sum(0).tolist()
        return Sent(self.steps, self.samples, {k: int(n) for k, n in zip(self.sent_bytes, every, strict=True)})

    def per_step(self) -> dict[str, float]:
        """Bytes a step of the tables' exchanges by kind, those that are not zero."""
        return {kind: self.sent_bytes[kind] / max(self.steps, 1) for kind in KINDS if self.sent_bytes[kind]}

    def dense_per_step(self) -> float:
        """Bytes a step of the dense part's all-reduce."""
        return self.sent_bytes[DENSE] / max(self.steps, 1)

    def summary(self) -> "WireSummary":
        """For the end of a run."""
        samples = max(self.samples, 1)
        per_sample = {kind: self.sent_bytes[kind] / samples for kind in KINDS if self.sent_bytes[kind]}
        return WireSummary(
            steps=self.steps,
            samples=self.samples,
            per_sample=per_sample,
            dense_per_sample=self.sent_bytes[DENSE] / samples,
        )


class WireSummary(Settings):
    """What crossed the wire since a run was last started, over all ranks.

    Args:
        steps, samples: of all ranks.
        per_sample: kind -> bytes a sample.
        dense_per_sample: bytes a sample of the dense part's all-reduce.
    """

    steps: int
    samples: int
    per_sample: dict[str, float]
    dense_per_sample: float

    def line(self) -> str:
        """In one line, for a terminal.

        >>> WireSummary(steps=2, samples=8, per_sample={"ids": 40.0, "vectors": 64.0}, dense_per_sample=9.5).line()
        'on the wire: 104 bytes a sample (ids 40, vectors 64), and 10 for the dense gradient'
        """
        kinds = ", ".join(f"{kind} {own:,.0f}" for kind, own in self.per_sample.items())
        total = sum(self.per_sample.values())
        rest = f"and {self.dense_per_sample:,.0f} for the dense gradient"
        return f"on the wire: {total:,.0f} bytes a sample ({kinds or 'nothing'}), {rest}"
