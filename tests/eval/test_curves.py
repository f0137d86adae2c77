import json
import math

import pytest

from fewbits.errors import InputError
from fewbits.eval.curves import Curve, Point, bd_rate, bd_table, extra_rate, load_published, mean_curves, undominated


def curve(rates, values, name="psnr"):
    return Curve("some", name, tuple(Point(i, r, v) for i, (r, v) in enumerate(zip(rates, values, strict=True))))


def record(file, codec, setting, bpp, psnr, ms_ssim=None, exact=False):
    return {"file": file, "codec": codec, "setting": setting, "bytes": round(bpp * 1000), "bpp": bpp, "exact": exact,
            "metrics": {"psnr": psnr, "ms_ssim": ms_ssim}, "encode_s": 0.1, "decode_s": 0.01}


RATES, VALUES = [0.1, 0.2, 0.5, 1.0, 2.0], [25.0, 28.0, 32.0, 36.0, 40.0]


@pytest.mark.parametrize("name, values", [("psnr", VALUES), ("ms_ssim", [0.9, 0.94, 0.97, 0.985, 0.995])])
def test_ten_percent_fewer_bits_are_minus_ten_percent(name, values):
    rate = bd_rate(curve(RATES, values, name), curve([0.9 * r for r in RATES], values, name))
    assert rate.percent == pytest.approx(-10)
    assert rate.overlap == pytest.approx(1)
    assert (rate.low, rate.high) == (values[0], values[-1])


@pytest.mark.parametrize("name, values", [("psnr", VALUES), ("ms_ssim", [0.9, 0.94, 0.97, 0.985, 0.995])])
def test_a_point_takes_so_much_more_rate_than_the_curve_at_its_quality(name, values):
    base = curve(RATES, values, name)
    for rate, value in zip(RATES, values, strict=True):
        assert extra_rate(base, Point(0, 1.1 * rate, value)) == pytest.approx(10)
    between = extra_rate(base, Point(0, 0.3, (values[1] + values[2]) / 2))
    assert 100 * (0.3 / 0.5 - 1) < between < 100 * (0.3 / 0.2 - 1)
    assert extra_rate(base, Point(0, 1.0, values[-1] + 0.001)) is None
    assert extra_rate(curve(RATES[:1], values[:1], name), Point(0, 1.0, values[0])) is None


def test_other_settings_of_the_same_trade_are_no_difference():
    """Curves need not share rates or the number of points."""
    def line(rate):
        return 40 + 6 * math.log2(rate)

    anchor, test = [0.1, 0.3, 0.9, 2.0], [0.08, 0.2, 0.35, 0.7, 1.1, 2.5]
    rate = bd_rate(curve(anchor, [line(r) for r in anchor]), curve(test, [line(r) for r in test]))
    assert rate.percent == pytest.approx(0, abs=1e-6)
    assert rate.overlap == pytest.approx(math.log(20) / math.log(2.5 / 0.08))


def test_curves_of_different_quality_have_no_rate_but_a_reason():
    rate = bd_rate(curve(RATES, VALUES), curve(RATES, [v + 20 for v in VALUES]))
    assert rate.percent is None
    assert "both curves" in rate.reason


def test_a_single_point_has_no_rate_but_a_reason():
    assert "two points" in bd_rate(curve(RATES, VALUES), curve([0.5], [30.0])).reason


def test_dominated_points_are_left_out_and_named():
    worse = curve([0.1, 0.2, 0.25, 0.5, 1.0, 2.0], [25.0, 28.0, 27.0, 32.0, 36.0, 40.0])
    rate = bd_rate(curve(RATES, VALUES), worse)
    assert rate.percent == pytest.approx(0, abs=1e-6)
    assert rate.dropped == (2,)


def test_of_two_points_with_equal_rate_the_better_stays():
    kept, dropped = undominated([Point(1, 0.5, 30.0), Point(2, 0.5, 31.0)])
    assert [p.setting for p in kept] == [2]
    assert [p.setting for p in dropped] == [1]


def test_means_are_over_files_for_each_setting():
    result = {"records": [record("a", "x", 10, 0.2, 30.0), record("b", "x", 10, 0.4, 34.0),
                          record("a", "x", 5, 0.1, 27.0), record("b", "x", 5, 0.2, 29.0)]}
    (mean,) = mean_curves(result, "psnr")
    assert mean.files == 2
    assert [p.setting for p in mean.points] == [5, 10]
    assert [p.rate for p in mean.points] == pytest.approx([0.15, 0.3])
    assert [p.value for p in mean.points] == pytest.approx([28, 32])


def test_a_file_without_a_value_at_some_setting_leaves_all_means():
    """Else the points of one plot would be means over different pictures."""
    result = {"records": [record("a", "x", 5, 0.1, 27.0), record("flat", "x", 5, 0.01, 60.0),
                          record("a", "y", 5, 0.2, 28.0), record("flat", "y", 5, 0.01, None, exact=True)]}
    means = {c.codec: c for c in mean_curves(result, "psnr")}
    assert [c.files for c in means.values()] == [1, 1]
    assert means["x"].points[0].rate == pytest.approx(0.1)


def test_lossless_codecs_have_no_curve_and_take_none_from_others():
    result = {"records": [record("a", "x", 5, 0.1, 27.0), record("a", "png", 9, 12.0, None, 1.0, exact=True)]}
    assert [c.codec for c in mean_curves(result, "psnr")] == ["x"]
    assert mean_curves(result, "ms_ssim") == []


def test_table_ranks_measured_and_published_curves(tmp_path):
    records = [record("a", "anchor", i, r, v) for i, (r, v) in enumerate(zip(RATES, VALUES, strict=True))]
    records += [record("a", "better", i, 0.8 * r, v) for i, (r, v) in enumerate(zip(RATES, VALUES, strict=True))]
    file = tmp_path / "published.json"
    points = [{"bpp": 1.5 * r, "psnr": v} for r, v in zip(RATES, VALUES, strict=True)]
    file.write_text(json.dumps([{"codec": "worse", "source": "a paper", "points": points}]))
    rows = bd_table({"records": records}, "anchor", load_published(file))
    assert [(row.codec, row.source) for row in rows] == [("better", ""), ("anchor", ""), ("worse", "a paper")]
    assert [row.rates["psnr"].percent for row in rows] == pytest.approx([-20, 0, 50])


def test_table_without_its_anchor_says_so():
    (row,) = bd_table({"records": [record("a", "x", 5, 0.1, 27.0)]}, "avif-psnr")
    assert row.rates["psnr"].percent is None
    assert "avif-psnr was not measured" in row.rates["psnr"].reason


def test_published_curves_have_one_entry_for_each_metric(tmp_path):
    file = tmp_path / "published.json"
    points = [{"bpp": 0.5, "psnr": 30, "ms_ssim": 0.95}, {"bpp": 0.2, "psnr": 27, "ms_ssim": 0.9}]
    file.write_text(json.dumps([{"codec": "c", "source": "s", "points": points}]))
    curves = load_published(file)
    assert [(c.codec, c.metric, c.source) for c in curves] == [("c", "psnr", "s"), ("c", "ms_ssim", "s")]
    assert [p.rate for p in curves[0].points] == [0.2, 0.5]


@pytest.mark.parametrize("text", ["{", "{}", '{"a": 1}', "[1]", '[{"codec": "c"}]', "3", '[{"points": [{"psnr": 3}]}]'])
def test_other_json_is_refused(tmp_path, text):
    file = tmp_path / "other.json"
    file.write_text(text)
    with pytest.raises(InputError, match="list of curves"):
        load_published(file)


def test_missing_published_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_published(tmp_path / "none.json")


def test_table_calls_lossless_codecs_so():
    records = [record("a", "x", 5, 0.1, 27.0), record("a", "png", 9, 12.0, None, exact=True)]
    reasons = {row.codec: row.rates["psnr"].reason for row in bd_table({"records": records}, "x")}
    assert reasons == {"x": "fewer than two points that rise with rate", "png": "lossless"}


def test_where_less_is_better_curves_are_turned_round():
    anchor = Curve("a", "mel", tuple(Point(i, r, v) for i, (r, v) in enumerate([(4, 2.0), (8, 1.5), (16, 1.0)])))
    half = Curve("b", "mel", tuple(Point(i, r, v) for i, (r, v) in enumerate([(2, 2.0), (4, 1.5), (8, 1.0)])))
    rate = bd_rate(anchor, half)
    assert rate.percent == pytest.approx(-50) and rate.overlap == 1
    assert (rate.low, rate.high) == (2.0, 1.0) and rate.dropped == ()
    worse = Curve("c", "mel", (*half.points, Point(3, 9, 1.2)))
    assert bd_rate(anchor, worse).dropped == (3,)


def test_gmsd_falls_where_quality_rises():
    worse, better = (curve(rates, [0.2, 0.1, 0.05, 0.02, 0.01], "gmsd") for rates in (RATES, [r / 2 for r in RATES]))
    rate = bd_rate(worse, better)
    assert rate.percent == pytest.approx(-50) and rate.dropped == ()


def test_curves_of_sounds_are_over_kbps():
    records = [{"file": "a", "codec": "x", "setting": s, "kbps": s, "metrics": {"mel": 1 / s, "stoi": 0.5},
                "exact": False} for s in (6, 12)]
    curve, = mean_curves({"records": records}, "mel")
    assert [(p.rate, p.value) for p in curve.points] == [(6, 1 / 6), (12, 1 / 12)]
    rows = bd_table({"records": records}, "x")
    assert list(rows[0].rates) == ["mel"] and rows[0].rates["mel"].percent == pytest.approx(0)


def test_a_metric_without_values_is_not_the_anchors_fault():
    records = [{"file": "a", "codec": "x", "setting": s, "kbps": s, "metrics": {"pesq_wb": None}, "exact": False}
               for s in (6, 12)]
    row, = bd_table({"records": records}, "x")
    assert row.rates["pesq_wb"].reason == "no points that all sounds have"
