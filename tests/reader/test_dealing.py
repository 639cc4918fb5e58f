import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recfold.reader.dealing import Deal, deal_reference, done_after, share_of, steps_of

units = st.lists(st.integers(1, 7), max_size=8)
a_deal = st.builds(Deal, st.integers(1, 4), st.integers(1, 5), st.integers(0, 4))


def dealt(counts: list[int], deals: list[Deal], block_samples: int) -> list[list[list[tuple[int, int]]]]:
    """batches[step][rank] of the fast path."""
    num_samples = np.array(counts, dtype=np.int64)
    batches = []
    for number, deal in enumerate(deals):
        done = done_after(num_samples, deals[:number], block_samples)
        shares = [share_of(num_samples, done, block_samples, rank, deal.world_size) for rank in range(deal.world_size)]
        for step in range(deal.steps):
            row = []
            for share in shares:
                batch = []
                if step < share.num_batches(deal.batch_size):
                    pieces = share.pieces(step, deal.batch_size)
                    for unit, begin, end in zip(*(x.tolist() for x in pieces), strict=True):
                        batch += [(unit, sample) for sample in range(begin, end)]
                row.append(batch)
            batches.append(row)
    return batches


@given(units, st.lists(a_deal, max_size=4), st.integers(1, 9))
def test_deals_as_dealing_sample_by_sample(counts, deals, block_samples):
    expected, rest = deal_reference(counts, deals, block_samples)
    assert dealt(counts, deals, block_samples) == expected
    done = done_after(np.array(counts, dtype=np.int64), deals, block_samples)
    assert rest == [(unit, sample) for unit, count in enumerate(counts) for sample in range(int(done[unit]), count)]


@given(units, st.lists(a_deal, max_size=3), st.integers(1, 4), st.integers(1, 5), st.integers(1, 9))
def test_no_sample_is_skipped_or_doubled_however_often_the_world_changes(counts, deals, world, size, block_samples):
    num_samples = np.array(counts, dtype=np.int64)
    done = done_after(num_samples, deals, block_samples)
    last = Deal(world, size, steps_of(num_samples, done, block_samples, world, size))
    taken = sorted(pair for row in dealt(counts, [*deals, last], block_samples) for batch in row for pair in batch)
    assert taken == [(unit, sample) for unit, count in enumerate(counts) for sample in range(count)]


@given(units, st.integers(1, 4), st.integers(1, 5), st.integers(1, 9))
def test_batches_are_exact_but_for_each_ranks_last(counts, world, size, block_samples):
    num_samples = np.array(counts, dtype=np.int64)
    nothing = np.zeros_like(num_samples)
    for rank in range(world):
        share = share_of(num_samples, nothing, block_samples, rank, world)
        sizes = [int((p.end - p.begin).sum()) for p in (share.pieces(b, size) for b in range(share.num_batches(size)))]
        assert all(n == size for n in sizes[:-1])
        assert sum(sizes) == share.num_samples


def test_blocks_go_round_and_a_huge_unit_is_one_block():
    num_samples = np.array([1, 100, 1, 1], dtype=np.int64)
    shares = [share_of(num_samples, np.zeros(4, np.int64), 2, rank, 2).unit.tolist() for rank in range(2)]
    assert shares == [[0, 1, 3], [2]]
