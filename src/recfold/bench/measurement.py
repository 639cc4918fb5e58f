"""What a bench finds: one figure of ours next to one of a peer."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Measurement:
    """One line of `recfold bench --json`.

    Args:
        bench, case: what was measured; `peer_name` against what.
        metric: of what; a ratio above 1 means that ours is better.
        ours, peer: the figures, in `unit`: medians where there are several.
        settings: all that is needed to get the figures again; `interval` holds the smallest and largest ratio of the
            turns whose median `ratio` is.
    """

    bench: str
    case: str
    metric: str
    ours: float
    peer: float
    peer_name: str
    ratio: float
    unit: str
    settings: Mapping[str, Any]

    def to_json(self) -> str:
        """One object in one line."""
        return json.dumps(asdict(self))


def of_bytes(bench: str, case: str, ours: int, peer: int, peer_name: str, settings: Mapping[str, Any]) -> Measurement:
    """Sizes: less is better.

    >>> of_bytes("storage", "tuned", 100, 350, "arrival-order", {}).ratio
    3.5
    """
    return Measurement(bench, case, "bytes", ours, peer, peer_name, peer / ours, "bytes", settings)


def of_speeds(
    bench: str,
    case: str,
    samples: int,
    seconds: tuple[Sequence[float], Sequence[float]],
    peer_name: str,
    settings: Mapping[str, Any],
) -> Measurement:
    """Speeds: more is better.

    Args:
        samples: that each turn went through.
        seconds: of ours and of the peer, turn by turn.

    >>> found = of_speeds("reader", "tuned", 100, ([1.0, 2.0, 1.0], [4.0, 6.0, 5.0]), "slow", {})
    >>> found.ours, found.ratio, found.settings["interval"]
    (100.0, 4.0, [3.0, 5.0])
    """
    ours, peers = seconds
    ratios = [peer / own for own, peer in zip(ours, peers, strict=True)]
    return Measurement(
        bench,
        case,
        "samples_per_s",
        samples / statistics.median(ours),
        samples / statistics.median(peers),
        peer_name,
        statistics.median(ratios),
        "samples/s",
        {**settings, "interval": [min(ratios), max(ratios)]},
    )
