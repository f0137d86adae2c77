"""Means over files: what is kept of an evaluation compares as all of it does."""

import json

import pytest

from fewbits.eval.curves import bd_table, codecs_of, neural_of
from fewbits.eval.evaluate import evaluate
from fewbits.eval.medium import PICTURES, medium_of
from fewbits.eval.summary import means, rates_against


@pytest.fixture
def result(pictures, stand_in):
    return evaluate([pictures], [(stand_in, [10, 40, 80]), ("jpeg", [20, 50, 90]), ("png", [9])])


def test_means_have_a_record_for_each_setting_and_the_form_of_a_result(result, stand_in):
    short = json.loads(json.dumps(means(result)))
    assert [(r["codec"], r["setting"]) for r in short["records"]] == [
        (stand_in, 10), (stand_in, 40), (stand_in, 80), ("jpeg", 20), ("jpeg", 50), ("jpeg", 90), ("png", 9)]
    assert medium_of(short) is PICTURES and codecs_of(short) == codecs_of(result) and neural_of(short) == [stand_in]
    files = {record["file"] for record in result["records"]}
    assert {record["files"] for record in short["records"]} == {len(files)}
    of_jpeg = [r for r in result["records"] if (r["codec"], r["setting"]) == ("jpeg", 50)]
    assert short["records"][4]["bpp"] == pytest.approx(sum(r["bpp"] for r in of_jpeg) / len(files), rel=1e-5)
    assert short["records"][6]["exact"] and short["records"][6]["metrics"]["psnr"] is None


def test_rates_are_those_of_the_whole_result(result, stand_in):
    whole = {row.codec: row.rates["psnr"].percent for row in bd_table(result, "jpeg")}
    rates = rates_against(means(result), (("jpeg", "psnr"), (stand_in, "psnr")))
    assert rates[stand_in][0].percent == pytest.approx(whole[stand_in], abs=0.01)
    assert rates["jpeg"][0].percent == pytest.approx(0) and rates[stand_in][1].percent == pytest.approx(0)
    assert list(rates)[-1] == "png" and rates["png"][0].percent is None
