"""The peers' batches hold what ours hold, list by list."""

import pytest
import torch

from recfold.batch import Batch
from recfold.bench.digest import sample_digests
from recfold.bench.peer_files import split_path
from recfold.bench.peer_readers import PeerReader, read_hashed, read_kjt
from recfold.bench.peers import peer_files
from recfold.bench.reader import PEERS
from recfold.bench.work import Work
from recfold.reader import Reader, ReaderSettings


@pytest.fixture(scope="module")
def ours(work: Work) -> Batch:
    settings = ReaderSettings(batch_size=500, workers=0)
    return _by_request(Batch.concat([b.expand() for b in Reader(work.table(), "train", settings)]))


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_reads_the_same_lists_values_labels_and_keys(name: str, work: Work, ours: Batch) -> None:
    order, read = PEERS[name]
    path = split_path(peer_files(work) / f"{order}-tuned", "train")
    batches = list(read(path, work.table().schema, 512))
    assert [batch.num_samples for batch in batches] == [512] * 5 + [140]
    theirs = _by_request(Batch.concat([batch.expand() for batch in batches]))
    assert torch.equal(theirs.labels, ours.labels)
    for key, values in ours.keys.items():
        assert torch.equal(theirs.keys[key], values)
    mine, others = _features(ours), _features(theirs)
    assert list(mine) == sorted(work.schema().features)
    for feature, content in mine.items():
        for left, right in zip(content, others[feature], strict=True):
            assert torch.equal(left, right), feature


def test_the_hashing_peer_keeps_every_list_of_a_group_once(work: Work) -> None:
    path = split_path(peer_files(work) / "clustered-tuned", "train")
    batch = next(iter(read_hashed(path, work.table().schema, 1024)))
    assert list(batch.groups) == ["user_a", "user_b", "user_c", "user_d", "sample"]
    lists = batch.groups["user_a"].lists
    assert lists is not None
    assert 1 < lists.num_distinct < 600
    kjt = lists.to_kjt()
    assert lists.num_distinct == type(lists).from_kjt(kjt).num_distinct


@pytest.mark.parametrize("read", [read_kjt, read_hashed])
def test_digests_tell_any_difference_and_no_order(read: PeerReader, work: Work) -> None:
    path = split_path(peer_files(work) / "clustered-tuned", "train")
    batch = next(iter(read(path, work.table().schema, 64)))
    digest = sample_digests(batch)
    assert len(set(digest.tolist())) == 64
    assert torch.equal(sample_digests(batch.slice(10, 20)), digest[10:20])
    batch.labels[3] += 1
    batch.keys["time"][4] += 1
    sample = batch.groups["sample"]
    assert sample.dense is not None
    assert sample.lists is not None
    sample.dense[5, 2] += 1
    sample.lists.bags("item_3")[0][0] += 1
    assert (sample_digests(batch) != digest).nonzero().flatten().tolist() == [0, 3, 4, 5]


def _by_request(batch: Batch) -> Batch:
    order = torch.argsort(batch.keys["request"])
    parts = [batch.slice(b, b + 1) for b in order.tolist()]
    return Batch.concat(parts)


def _features(batch: Batch) -> dict[str, tuple[torch.Tensor, ...]]:
    """Feature -> its values and offsets, or its dense columns."""
    found: dict[str, tuple[torch.Tensor, ...]] = {}
    for group in batch.groups.values():
        if group.lists is not None:
            kjt = group.lists.to_kjt()
            found |= {key: kjt.bags(key)[:2] for key in kjt.keys}
        found |= {key: (group.dense_of(key),) for key in group.dense_keys}
    return dict(sorted(found.items()))
