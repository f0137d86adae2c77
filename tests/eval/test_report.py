import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from fewbits.codecs.sound import Audio
from fewbits.errors import InputError
from fewbits.eval import sounds
from fewbits.eval.crops import take_crops
from fewbits.eval.curves import load_published
from fewbits.eval.evaluate import evaluate
from fewbits.eval.report import write_html
from fewbits.eval.spectrograms import take_spectrograms


class Page(HTMLParser):
    """Tags, references and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.references, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.references += [value for name, value in attributes if name in ("src", "href", "srcset", "data", "action")]

    def handle_data(self, data):
        self.words.append(data.strip())


@pytest.fixture
def report(pictures, stand_in, tmp_path):
    """The text of a page with everything on it."""
    published = tmp_path / "published.json"
    points = [{"bpp": 0.5, "psnr": 22.0, "ms_ssim": 0.8}, {"bpp": 6, "psnr": 40.0, "ms_ssim": 0.99}]
    published.write_text(json.dumps([{"codec": "of a <paper>", "source": "somewhere", "points": points}]))
    result = evaluate([pictures], [(stand_in, [10, 40, 80]), ("jpeg", [20, 50, 90]), ("png", [9])])
    crops = take_crops(result, [pictures], rate=2.0, count=1, side=64)
    page = tmp_path / "page.html"
    write_html(result, page, "jpeg", load_published(published), crops)
    return page.read_text()


def test_the_page_fetches_nothing(report):
    page = Page(report)
    assert page.references
    assert all(r.startswith(("data:", "#")) for r in page.references)
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
    assert not re.search(r"https?:|@import|<\?xml|<!DOCTYPE svg", report)
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)", report))


def test_the_page_holds_plots_table_crops_times_and_environment(report):
    page = Page(report)
    assert page.tags.count("svg") == 2
    assert page.tags.count("img") == 3  # the source, the stand-in, JPEG; lossless PNG has no crop
    for words in ("PSNR (dB) over rate", "MS-SSIM (dB) over rate", "BD-rate against jpeg", "Time", "Points",
                  "Environment", "stand-in", "png", "+0.0 %", "2 of 2"):
        assert any(words in text for text in page.words)
    assert "of a <paper>" in page.words  # escaped in the source, so it is text and no tag


def test_plots_take_their_colours_from_the_page_in_light_and_dark(report):
    assert "prefers-color-scheme: dark" in report
    plot = report[report.index("<svg"):report.index("</svg>")]
    used = set(re.findall(r"var\((--[\w-]+)\)", plot))
    assert {"--ink", "--line", "--series-0", "--series-1"} <= used
    assert all(report.count(f"{variable}:") == 2 for variable in used)
    assert not re.search(r"#0[1-4]0[1-9a-f]{3}", plot)


def test_crops_stand_at_about_the_rate(pictures, stand_in):
    result = evaluate([pictures], [(stand_in, [5, 95]), ("jpeg", [5, 35, 65, 95])])
    rows = take_crops(result, [pictures], rate=2.0, count=2, side=50)
    assert [row.file for row in rows] == ["a.png", "b.png"]
    for row in rows:
        assert row.source.shape == (50, 50, 3)
        assert [c.codec for c in row.crops] == ["stand-in", "jpeg"]
        assert row.crops[1].bpp == pytest.approx(2.0, rel=0.25)
        assert all(c.pixels.shape == row.source.shape for c in row.crops)


def test_a_metric_that_falls_where_quality_rises_is_drawn_upwards(pictures, tmp_path):
    result = evaluate([pictures], [("jpeg", [20, 50, 90]), ("webp", [20, 50, 90])], metrics=["psnr"])
    for record in result["records"]:
        record["metrics"]["gmsd"] = 1 / record["metrics"]["psnr"]
    write_html(result, tmp_path / "page.html", "jpeg")
    page = Page((tmp_path / "page.html").read_text())
    assert page.tags.count("svg") == 2
    assert {"GMSD over rate", "GMSD (less is better, and above)", "GMSD overlap"} <= set(page.words)


def test_a_page_without_the_anchor_says_so(pictures, tmp_path):
    write_html(evaluate([pictures], [("webp", [20, 60])]), tmp_path / "page.html")
    assert "avif-psnr was not measured" in (tmp_path / "page.html").read_text()


def test_a_page_of_lossless_codecs_shows_size_over_time(pictures, tmp_path):
    write_html(evaluate([pictures], [("png", [1, 9])]), tmp_path / "page.html", "png")
    page = Page((tmp_path / "page.html").read_text())
    assert page.tags.count("svg") == 1 and "Size over time" in page.words and "2 of 2" in page.words
    assert not any("BD-rate" in text for text in page.words)


@pytest.fixture
def talks(tmp_path, make_sound):
    """A folder of three sounds."""
    folder = tmp_path / "talks"
    folder.mkdir()
    for seed, name in enumerate(("a.wav", "b.wav", "c.flac")):
        make_sound(1.5, seed=seed).save(folder / name)
    return folder


def test_a_page_about_sounds(talks, stored_sound, tmp_path):
    result = sounds.evaluate([talks], ["speech@0,30,60,100", "opus@6,16,32", "flac@5"], metrics=("pesq_wb", "mel"))
    rows = take_spectrograms(result, [talks])
    write_html(result, tmp_path / "page.html", "opus", crops=rows)
    text = (tmp_path / "page.html").read_text()
    page = Page(text)
    assert page.tags.count("svg") == 2 and page.tags.count("img") == 2 * 4  # two sounds, each the source and 3 codecs
    assert page.tags.count("audio") == 2 * 4 and all(row.sound[:4] == b"fLaC" for row in rows)
    for words in ("PESQ WB over rate", "mel over rate", "BD-rate against opus", "Spectrograms at about 6 kbit/s",
                  "mel (less is better, and above)", "kbit/s, size of the file (logarithmic)", "+0.0 %", "lossless",
                  "Means over 3 sounds."):
        assert any(words in part for part in page.words), words
    assert "picture" not in re.sub(r"<svg.*?</svg>|<style>.*?</style>", "", text, flags=re.DOTALL)


def test_spectrograms_are_those_of_the_nearest_setting(talks, stored_sound):
    result = sounds.evaluate([talks], ["speech@0,50,100", "opus@6,16"], metrics=["mel"])
    rows = take_spectrograms(result, [talks], rate=16, count=1)
    assert [row.file for row in rows] == ["a.wav"]
    speech, opus = rows[0].crops
    assert (opus.setting, opus.caption) == (16, f"@16: {opus.kbps:.2f} kbit/s")
    distances = {r["setting"]: abs(math.log(r["kbps"] / 16)) for r in result["records"]
                 if (r["file"], r["codec"]) == ("a.wav", "speech")}
    assert speech.setting == min(distances, key=distances.get)
    assert rows[0].source.shape == speech.pixels.shape == (200, 480, 3) and rows[0].source.dtype == np.uint8
    assert not np.array_equal(speech.pixels, rows[0].source)


@pytest.mark.parametrize("samples", [np.zeros((1, 8000)), np.ones((2, 3)) / 2])
def test_silence_and_tiny_sounds_have_spectrograms(samples, stored_sound, tmp_path):
    Audio(samples.astype(np.float32), 8000).save(tmp_path / "a.wav")
    result = sounds.evaluate([tmp_path / "a.wav"], ["speech@50"], metrics=["si_sdr"])
    row, = take_spectrograms(result, [tmp_path / "a.wav"])
    assert row.source.ndim == 3 and row.source.shape == row.crops[0].pixels.shape


def test_an_empty_result_and_a_missing_folder_are_refused(tmp_path, pictures):
    with pytest.raises(InputError, match="no records"):
        write_html({"environment": {}, "records": []}, tmp_path / "page.html")
    with pytest.raises(InputError, match="cannot be written"):
        write_html(evaluate([pictures], [("jpeg", [50])]), tmp_path / "none" / "page.html")
