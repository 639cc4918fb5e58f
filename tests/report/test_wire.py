from recfold.report.document import document
from recfold.report.read_run import read_history
from recfold.report.wire import wire

STEPS = [
    {"kind": "step", "step": 2, "loss": 0.5, "samples": 20, "wire_bytes": {"ids": 100.0}, "wire_dense_bytes": 10.0},
    {"kind": "step", "step": 5, "loss": 0.5, "samples": 50, "wire_bytes": {"ids": 200.0}, "wire_dense_bytes": 10.0},
]
PROFILE = {
    "kind": "profile",
    "step": 5,
    "steps": 3,
    "under_way_ms": {"ids": 2.0},
    "waited_ms": {"ids": 0.5},
    "hidden_ms": {"ids": 1.5},
}


def test_windows_count_by_their_steps_and_the_dense_part_is_apart(parse):
    words = parse(wire(read_history(STEPS)).markup).words
    assert "cost 16 bytes a sample" in words  # (2 * 100 + 3 * 200) / 50
    assert "ids 160 16.0 –" in words
    assert "dense 10 1.0 –" in words
    assert "recfold train --profile" in words


def test_what_was_hidden_stands_beside_its_kind(parse):
    words = parse(wire(read_history([*STEPS, PROFILE])).markup).words
    assert "ids 160 16.0 2.0 1.5" in words
    assert "recfold train --profile" not in words


def test_a_run_of_one_rank_has_no_such_section(make_run):
    assert "What crossed the wire" not in document(make_run())
