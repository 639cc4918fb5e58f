from recfold.comm import Wire


def test_bytes_add_up_by_kind_until_they_are_taken() -> None:
    wire = Wire()
    for kind, num_bytes in (("ids", 8), ("vectors", 4), ("ids", 16), ("norms", 0)):
        wire.add(kind, num_bytes)
    assert wire.peek() == {"ids": 24, "vectors": 4}
    assert wire.take() == {"ids": 24, "vectors": 4}
    assert wire.take() == {}
