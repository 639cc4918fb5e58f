"""All sides of a bench train alike: their first losses agree, or nothing is measured."""

from collections.abc import Mapping, Sequence

from recfold.batch import Batch
from recfold.bench.training.sides import Side
from recfold.spec import InputError

TOLERANCES = (3e-6, 3e-5, 3e-4)
"""Largest relative difference of the losses of the first, second and third step, in float32.

The first has the rounding of one forward. Later ones have that of the updates too, where Adam and AdaGrad divide
small gradients by small gradients.
"""


def check_losses(sides: Mapping[str, Side], batches: Sequence[Batch]) -> list[float]:
    """Train every side on the first batches, a step for each tolerance; this also warms them up.

    Returns:
        The losses of the first side.
    Raises:
        InputError: two sides disagree, so that no figure would mean anything.
    """
    ours, found = next(iter(sides)), []
    for step, tolerance in enumerate(TOLERANCES):
        batch = batches[step % len(batches)]
        losses = {name: side.step(side.prepare(batch)) for name, side in sides.items()}
        for name, loss in losses.items():
            if abs(loss - losses[ours]) > tolerance * abs(losses[ours]):
                raise InputError(
                    f"{name} does not train what {ours} trains: another loss at step {step + 1}",
                    got=f"{loss:.8g}",
                    expected=f"{losses[ours]:.8g} within {tolerance:g} of it",
                    todo="report this",
                )
        found.append(losses[ours])
    return found
