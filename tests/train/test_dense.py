"""Every optimizer and schedule of torch by name; wrong names and options are one clear line."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from recfold.spec import InputError
from recfold.train.dense import WarmupCosine, build_optimizer, build_schedule, optimizer_names, schedule_names
from recfold.train.settings import DenseOptimizer, Schedule

SCHEDULE_OPTIONS = {
    "StepLR": {"step_size": 1},
    "MultiStepLR": {"milestones": [1, 2]},
    "ExponentialLR": {"gamma": 0.5},
    "PolynomialLR": {"total_iters": 3},
    "CosineAnnealingLR": {"T_max": 3},
    "CosineAnnealingWarmRestarts": {"T_0": 2},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 2},
    "OneCycleLR": {"max_lr": 0.1, "total_steps": 9},
    "warmup_cosine": {"warmup": 2},
}


def weight() -> nn.Parameter:
    return nn.Parameter(torch.ones(3, 3))


def updates(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, schedule: object, count: int) -> list[float]:
    rates = []
    for _ in range(count):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        parameter.grad = parameter.detach().clone()
        optimizer.step()
        if schedule is not None:
            schedule.step()  # type: ignore[attr-defined]
    return rates


@pytest.mark.parametrize("name", optimizer_names())
def test_every_optimizer_moves_a_weight(name: str) -> None:
    parameter = weight()
    updates(build_optimizer([parameter], DenseOptimizer(name=name, options={"lr": 0.1})), parameter, None, 1)
    assert not torch.equal(parameter, torch.ones(3, 3))


def test_lists_become_tuples_where_torch_wants_them() -> None:
    optimizer = build_optimizer([weight()], DenseOptimizer(options={"lr": 0.1, "betas": [0.5, 0.6]}))
    assert optimizer.param_groups[0]["betas"] == (0.5, 0.6)


@pytest.mark.parametrize("name", [name for name in schedule_names() if name != "constant"])
def test_every_schedule_changes_the_rate_and_goes_on_from_its_state(name: str) -> None:
    settings = Schedule(name=name, options=SCHEDULE_OPTIONS.get(name, {}))
    parameter = weight()
    optimizer = build_optimizer([parameter], DenseOptimizer(name="SGD", options={"lr": 0.1, "momentum": 0.9}))
    schedule = build_schedule(optimizer, settings, updates=9)
    assert schedule is not None
    rates = updates(optimizer, parameter, schedule, 3)
    saved = optimizer.state_dict(), schedule.state_dict()
    rates += updates(optimizer, parameter, schedule, 4)
    assert len(set(rates)) > 1
    again = build_optimizer([parameter], DenseOptimizer(name="SGD", options={"lr": 0.1, "momentum": 0.9}))
    resumed = build_schedule(again, settings, updates=50)
    assert resumed is not None
    again.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    assert updates(again, parameter, resumed, 4) == rates[3:]


def test_constant_is_no_schedule() -> None:
    assert build_schedule(build_optimizer([weight()], DenseOptimizer()), Schedule(), 5) is None


def test_warmup_cosine_rises_falls_and_stays_at_its_floor() -> None:
    rate = WarmupCosine(total=10, warmup=4, floor=0.1)
    shares = [rate(step) for step in range(15)]
    assert shares[:4] == [0.25, 0.5, 0.75, 1.0]
    assert all(a >= b for a, b in pairwise(shares[3:]))
    assert shares[10:] == pytest.approx([0.1] * 5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (DenseOptimizer(name="Adm"), r"unknown dense optimizer 'Adm'; expected one of .*; did you mean 'Adam'\?"),
        (DenseOptimizer(name="LBFGS"), "unknown dense optimizer 'LBFGS'"),
        (DenseOptimizer(name="Optimizer"), "unknown dense optimizer"),
        (DenseOptimizer(options={"lrr": 1}), r"unknown option of dense optimizer Adam 'lrr'.*did you mean 'lr'\?"),
        (DenseOptimizer(options={"lr": -1}), "dense optimizer Adam refuses its options; got .*Invalid learning rate"),
        (DenseOptimizer(options={"lr": "fast"}), "dense optimizer Adam refuses its options"),
    ],
)
def test_a_wrong_optimizer_is_one_clear_line(settings: DenseOptimizer, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_optimizer([weight()], settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Schedule(name="cosine"), r"unknown schedule 'cosine'; expected one of .*warmup_cosine"),
        (Schedule(name="LambdaLR"), "unknown schedule 'LambdaLR'"),
        (Schedule(name="StepLR"), "schedule StepLR refuses its options; got .*step_size"),
        (Schedule(name="StepLR", options={"step": 1}), r"unknown option of schedule StepLR 'step'"),
        (Schedule(name="warmup_cosine", options={"floor": 2}), "schedule warmup_cosine refuses its options"),
        (Schedule(options={"gamma": 1}), "the constant schedule has no options; got gamma"),
    ],
)
def test_a_wrong_schedule_is_one_clear_line(settings: Schedule, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_schedule(build_optimizer([weight()], DenseOptimizer()), settings, 5)


def test_adam_makes_one_pass_and_gives_the_same() -> None:
    found = []
    for options in ({}, {"foreach": False}):
        weight = nn.Parameter(torch.linspace(-1, 1, 12).view(3, 4))
        optimizer = build_optimizer([weight], DenseOptimizer(name="Adam", options={"lr": 0.1, **options}))
        assert bool(optimizer.param_groups[0]["fused"]) == (not options)
        for step in range(4):
            weight.grad = (weight.detach() * (step + 1)).sin()
            optimizer.step()
        found.append(weight.detach())
    torch.testing.assert_close(found[0], found[1], rtol=1e-6, atol=1e-7)
