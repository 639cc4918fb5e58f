"""Policies that place tables one after the other, whatever their number and that of ranks; and their training."""

from recfold.plan.search.policy.act import act
from recfold.plan.search.policy.files import load_policy, save_policy
from recfold.plan.search.policy.nets import POLICIES, Policy
from recfold.plan.search.policy.train import Curve, PolicySettings, train_policy

__all__ = ["POLICIES", "Curve", "Policy", "PolicySettings", "act", "load_policy", "save_policy", "train_policy"]
