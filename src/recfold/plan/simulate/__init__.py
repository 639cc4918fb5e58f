"""The step time of a plan on machines that are described, not there."""

from recfold.plan.simulate.curve import Point, curve
from recfold.plan.simulate.machine import DensePart, Machine, machine_of
from recfold.plan.simulate.plot import save_curve
from recfold.plan.simulate.step import PHASES, Step, simulate

__all__ = ["PHASES", "DensePart", "Machine", "Point", "Step", "curve", "machine_of", "save_curve", "simulate"]
