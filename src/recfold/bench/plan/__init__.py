"""plan: every search and TorchRec's planner on the same sharding tasks, and what their slowest devices measure."""

from recfold.bench.plan.bench import plan

__all__ = ["plan"]
