from recfold.report.throughput import throughput


def test_ratio_is_that_of_medians(make_throughput, parse):
    words = parse(throughput(make_throughput(off=(10.0, 11.0, 500.0), on=(1.0, 33.0, 34.0))).markup).words
    assert "fold on 33 1 – 34 3 3.00×" in words


def test_without_a_plain_timing_there_is_no_ratio(make_throughput, parse):
    assert "fold on 20 10 – 40 3 –" in parse(throughput(make_throughput(on=(10.0, 20.0, 40.0))).markup).words


def test_no_timed_step_is_said(make_throughput, parse):
    assert parse(throughput(make_throughput(on=(), off=())).markup).words == "No step was timed."
