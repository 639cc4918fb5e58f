import sys

import pytest
import torch

from recfold.embed.huge_pages import AT_LEAST_BYTES, use_huge_pages_


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="madvise of Linux")
def test_a_large_tensor_keeps_its_place_and_what_it_holds() -> None:
    tensor = torch.arange(AT_LEAST_BYTES // 4, dtype=torch.float32)
    address, before = tensor.data_ptr(), tensor.clone()
    use_huge_pages_(tensor)
    assert tensor.data_ptr() == address
    assert torch.equal(tensor, before)


def test_small_tensors_and_those_of_other_devices_are_left_alone() -> None:
    assert not use_huge_pages_(torch.zeros(10, 4))
    assert not use_huge_pages_(torch.zeros(AT_LEAST_BYTES, device="meta"))


def test_another_system_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not use_huge_pages_(torch.zeros(AT_LEAST_BYTES))
