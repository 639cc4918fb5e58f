"""Plans for TorchRec: as its `ShardingPlan`, and as a planner that stands where its own does."""

from recfold.plan.interop.planner import RecfoldPlanner
from recfold.plan.interop.torchrec_plan import to_torchrec_plan

__all__ = ["RecfoldPlanner", "to_torchrec_plan"]
