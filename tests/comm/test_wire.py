from recfold.comm import Wire


def test_bytes_add_up_by_kind_until_they_are_taken() -> None:
    wire = Wire()
    for kind, num_bytes in (("ids", 8), ("vectors", 4), ("ids", 16), ("norms", 0)):
        wire.add(kind, num_bytes)
    assert wire.peek() == {"ids": 24, "vectors": 4}
    assert wire.take() == {"ids": 24, "vectors": 4}
    assert wire.take() == {}


def test_waits_add_up_by_kind_until_they_are_taken() -> None:
    wire = Wire()
    for kind, wait_ms in (("ids", 1.0), ("vectors", 4.0), ("ids", 2.0)):
        wire.add_wait(kind, wait_ms)
    assert wire.take_waits() == {"ids": 3.0, "vectors": 4.0}
    assert wire.take_waits() == {}
