import re
from xml.etree import ElementTree

import matplotlib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recfold.report.plots import Series, bars, calibration, curve, smooth, thin, throughput, y_limits

PLOTS = {
    "bars": lambda name: bars(name, "Bars", ["a", "b"], [2.0, 1.0], kinds=["session", "window"], shown=["2", "1"]),
    "curve": lambda name: curve(name, "Curve", [Series("a", [1, 2], [0.5, 0.4])], y="loss"),
    "calibration": lambda name: calibration(name, "Bins", [0.1, 0.4], [0.2, 0.3], [5, 1]),
    "throughput": lambda name: throughput(name, "Speed", {"on": (2.0, 3.0), "off": (1.0,)}),
}


@pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)
def test_a_plot_is_the_same_every_time_and_says_nothing_of_the_date(plot):
    first = plot("plot-x").markup
    assert first == plot("plot-x").markup
    assert not re.search(r"<dc:|metadata|\b20\d\d-\d\d-\d\d", first)


@pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)
def test_a_plot_is_well_formed_named_and_fetches_nothing(plot):
    markup = plot("plot-x").markup
    root = ElementTree.fromstring(markup)
    assert root.tag == "svg"
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert "http" not in markup


@pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)
def test_ids_of_two_plots_differ_and_every_reference_has_its_target(plot):
    ids = [set(re.findall(r'\bid="([^"]*)"', plot(name).markup)) for name in ("plot-x", "plot-y")]
    assert not ids[0] & ids[1]
    markup = plot("plot-x").markup
    targets = set(re.findall(r'href="#([^"]*)"', markup)) | set(re.findall(r"url\(#([^)]*)\)", markup))
    assert targets
    assert targets <= ids[0]


def test_the_users_own_matplotlib_settings_do_not_show():
    expected = PLOTS["curve"]("plot-x")
    with matplotlib.rc_context({"font.size": 30, "axes.grid": True, "svg.fonttype": "path"}):
        assert PLOTS["curve"]("plot-x") == expected
        assert matplotlib.rcParams["font.size"] == 30


@pytest.mark.parametrize(
    "label",
    ["<script>alert(1)</script>", "$x_1$", "$", "特征", "a\nb", "\\frac", "🙂", " ", "x" * 500, "\x00\x1b", "\ud800"],
)
def test_any_feature_name_can_be_drawn(label):
    root = ElementTree.fromstring(bars("plot-x", label, [label], [1.0], kinds=["session"], shown=["1"]).markup)
    assert (root.get("aria-label") == label) == label.isprintable()
    assert not [node for node in root.iter() if node.tag == "script"]
    assert max(len(node.text or "") for node in root.iter("text")) <= 28


def test_bars_of_nothing_but_zeros():
    assert "0 B" in bars("plot-x", "Bytes", ["a"], [0.0], kinds=["sample"], shown=["0 B"]).markup


def test_one_point_is_drawn_as_a_point():
    markup = curve("plot-x", "One", [Series("a", [1], [0.5])], y="loss").markup
    assert "<use" in markup


def test_calibration_of_zeros():
    assert calibration("plot-x", "Zero", [0.0], [0.0], [0.0]).markup.startswith("<svg")


@given(st.lists(st.floats(-1e6, 1e6), max_size=60), st.integers(1, 10))
def test_thinning_keeps_the_number_small_and_the_range(values, most):
    xs, ys = thin(range(len(values)), values, most)
    assert len(xs) == len(ys) == min(len(values), len(xs)) <= most
    if values:
        slack = 1e-9 * max(map(abs, values))
        assert min(values) - slack <= min(ys) <= max(ys) <= max(values) + slack
    if len(values) <= most:
        assert ys == values


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=40), st.integers(1, 20))
def test_smoothing_is_the_weighted_mean_that_it_says(values, span):
    decay = 1 - 2 / (span + 1)
    for i, got in enumerate(smooth(values, span)):
        weights = [decay ** (i - j) for j in range(i + 1)]
        expected = sum(w * v for w, v in zip(weights, values, strict=False)) / sum(weights)
        assert got == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_the_first_untrained_steps_do_not_flatten_the_curve():
    faint = Series("raw", range(100), [1000.0] + [1.0 + 0.01 * i for i in range(99)], faint=True)
    limits = y_limits([faint])
    assert limits is not None
    assert limits[1] < 3


def test_a_line_that_is_not_faint_is_shown_whole():
    limits = y_limits([Series("NE", range(100), [9.0] + [1.0] * 99)])
    assert limits is not None
    assert limits[0] < 1.0 < 9.0 < limits[1]


def test_a_constant_line_leaves_the_axis_to_matplotlib():
    assert y_limits([Series("a", [1, 2], [3.0, 3.0])]) is None
