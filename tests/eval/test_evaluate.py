import json

import numpy as np
import pytest

from fewbits.codecs.media import Image
from fewbits.errors import InputError
from fewbits.eval.contenders import available, contender, parse_codec
from fewbits.eval.evaluate import evaluate, expand

FIELDS = {"file", "codec", "setting", "bytes", "bpp", "metrics", "exact", "encode_s", "decode_s"}


def test_records_hold_what_was_written_and_decoded(pictures, stand_in):
    result = evaluate([pictures], [(stand_in, [40, 80]), ("webp", [50])])
    assert [(r["file"], r["codec"], r["setting"]) for r in result["records"]] == [
        (file, codec, setting) for file in ("a.png", "b.png")
        for codec, setting in (("stand-in", 40), ("stand-in", 80), ("webp", 50))]
    for r in result["records"]:
        assert set(r) == FIELDS | ({"estimate_bits"} if r["codec"] == "stand-in" else set())
        assert r["bpp"] == pytest.approx(8 * r["bytes"] / (176 * 192))
        assert 20 < r["metrics"]["psnr"] < 50 and 0.5 < r["metrics"]["ms_ssim"] < 1
        assert r["encode_s"] > 0 and r["decode_s"] > 0 and r["exact"] is False
    first = result["records"][0]
    assert first["estimate_bits"] == 8 * first["bytes"] - 100
    assert result["environment"]["packages"]["numpy"] == np.__version__
    assert result["environment"]["effort"] == 5


def test_the_result_is_strict_json_also_where_nothing_is_lost(pictures):
    result = evaluate([pictures / "a.png"], [("png", [9])])
    (r,) = json.loads(json.dumps(result, allow_nan=False))["records"]
    assert r["exact"] is True and r["metrics"]["psnr"] is None


def test_a_picture_too_small_for_ms_ssim_has_none(tmp_path, make_picture):
    make_picture(40, 30).save(tmp_path / "small.png")
    (r,) = evaluate([tmp_path], [("jpeg", [50])])["records"]
    assert r["metrics"]["ms_ssim"] is None and r["metrics"]["psnr"] > 20


def test_metrics_without_their_package_are_none_with_a_sentence(pictures, monkeypatch):
    monkeypatch.setattr("fewbits.eval.metrics.find_spec", lambda name: None)
    result = evaluate([pictures / "a.png"], [("jpeg", [50])], metrics=["psnr", "gmsd", "vif"])
    assert result["records"][0]["metrics"]["psnr"] > 20
    assert result["records"][0]["metrics"]["gmsd"] is result["records"][0]["metrics"]["vif"] is None
    assert result["notices"] == ["Left out, for want of the extra packages of fewbits[metrics]: GMSD, VIF."]


def test_settings_default_to_the_spread_of_the_codec(pictures, stand_in):
    result = evaluate([pictures / "a.png"], [(stand_in, None)], metrics=["psnr"])
    assert [r["setting"] for r in result["records"]] == list(range(0, 101, 10))
    assert all(set(r["metrics"]) == {"psnr"} for r in result["records"])


def test_progress_goes_from_nothing_to_all(pictures):
    shares = []
    evaluate([pictures], [("jpeg", [30, 60])], metrics=["psnr"], progress=lambda share, what: shares.append(share))
    assert shares == [0, 0.25, 0.5, 0.75, 1]


def test_files_of_one_name_in_two_folders_stay_apart(tmp_path, make_picture):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        make_picture(32, 32).save(tmp_path / folder / "same.png")
    assert list(expand([tmp_path / "one", tmp_path / "two"])) == ["one/same.png", "two/same.png"]


def test_a_picture_named_twice_counts_once(pictures):
    assert list(expand([pictures, pictures / "a.png"])) == ["a.png", "b.png"]


@pytest.mark.parametrize("text, expected", [
    ("avif-psnr@20,40", ("avif-psnr", [20, 40])),
    ("jpeg@80, 30,30", ("jpeg", [30, 80])),
    ("webp", ("webp", None)),
    ("stand-in@12.5", ("stand-in", [12.5])),
])
def test_codecs_and_settings_are_read(text, expected, stand_in):
    assert parse_codec(text) == expected


@pytest.mark.parametrize("text, message", [
    ("jpg", "no codec 'jpg'.*stand-in, jpeg, webp"),
    ("", "no codec ''"),
    ("jpeg@", "jpeg@20,40"),
    ("jpeg@high", "jpeg@20,40"),
    ("jpeg@0", "from 1 to 100, not 0"),
    ("jpeg@50.5", "whole numbers"),
    ("stand-in@101", "from 0 to 100"),
    ("stand-in@nan", "from 0 to 100"),
    ("jpeg@nan", "from 1 to 100"),
])
def test_wrong_codecs_and_settings_are_refused(text, message, stand_in):
    with pytest.raises(InputError, match=message):
        parse_codec(text)


def test_all_is_checked_before_anything_is_coded(pictures, stand_in, monkeypatch):
    def never(*arguments):
        raise AssertionError("coded something")

    monkeypatch.setattr("fewbits.eval.evaluate._measure", never)
    for codecs, metrics in [([("jpeg", [50]), ("nothing", None)], ["psnr"]), ([("jpeg", [500])], ["psnr"]),
                            ([("jpeg", [50])], ["taste"])]:
        with pytest.raises(InputError):
            evaluate([pictures], codecs, metrics=metrics)


def test_paths_that_hold_no_picture_are_refused(tmp_path):
    with pytest.raises(InputError, match="no file"):
        evaluate([tmp_path / "none.png"], [("jpeg", None)])
    with pytest.raises(InputError, match="no picture"):
        evaluate([tmp_path], [("jpeg", None)])


def test_every_codec_of_fewbits_and_every_anchor_is_available(stand_in):
    assert available()[:2] == ["stand-in", "jpeg"]


def test_a_codec_of_fewbits_can_be_tuned_for_ms_ssim(pictures, stand_in, monkeypatch):
    import fewbits.codecs

    files, tunes = fewbits.codecs.files, []
    encode = files.encode
    monkeypatch.setattr(files, "encode", lambda media, codec, target, progress: (
        tunes.append((codec, target.tune)), encode(media, codec, target, progress))[1])
    result = evaluate([pictures / "a.png"], [(stand_in, [50]), (f"{stand_in}-msssim", [50])])
    assert {("stand-in", "psnr"), ("stand-in", "msssim")} == set(tunes)
    assert [record["codec"] for record in result["records"]] == ["stand-in", "stand-in-msssim"]


def test_only_codecs_that_can_be_tuned_have_a_tuned_twin():
    assert "tuned for MS-SSIM" in contender("hyperprior-msssim").about
    with pytest.raises(InputError, match="no codec 'mcq-msssim'"):
        contender("mcq-msssim")


def test_a_codec_that_returns_another_size_is_an_error(pictures, stand_in, monkeypatch):
    import fewbits.codecs

    files = fewbits.codecs.files
    cut = type("Decoded", (), {"media": Image(np.zeros((5, 5, 3), np.uint8))})
    monkeypatch.setattr(files, "decode", lambda data: cut)
    with pytest.raises(Exception, match="5 x 5 pixels of a picture of 176 x 192"):
        evaluate([pictures / "a.png"], [(stand_in, [50])])
