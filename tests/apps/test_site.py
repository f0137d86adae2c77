"""The pages of `make site`, and the figures of the README."""

import json
import re
import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewbits.apps.site import index, plan, readme
from fewbits.apps.site import run as running
from fewbits.apps.site.plan import PLAN, Evaluation
from fewbits.errors import FewbitsError, InputError
from fewbits.eval.contenders import parse_codec
from fewbits.eval.page import in_lines


def draw(folder: Path) -> None:
    y, x = np.mgrid[0:40, 0:56]
    Image.fromarray((3 * x + 2 * y).astype(np.uint8)).save(folder / "drawn.png")


def small(*options: str) -> tuple[Evaluation, ...]:
    return (Evaluation("image", "Drawings", "real", "image/*.png", "drawn", draw, options),)


@pytest.fixture
def quick(monkeypatch):
    """A plan of a moment."""
    for place in (running, index):
        monkeypatch.setattr(place, "PLAN", small("--codec", "jpeg@20,50,90", "--codec", "avif-psnr@40,70",
                                                 "--metrics", "psnr"))


def test_pages_come_from_the_command_that_stands_on_them_which_runs_once(quick, tmp_path, monkeypatch, capsys):
    results = running.run(None, tmp_path)
    command = ("fewbits eval sets/drawn --codec jpeg@20,50,90 --codec avif-psnr@40,70 --metrics psnr "
               "--json image.json --html image.html")
    assert command in capsys.readouterr().out
    assert results["image"]["environment"]["command"] == command
    front, page = index.write(results, tmp_path).read_text(), (tmp_path / "image.html").read_text()
    for text in (front, page):
        assert in_lines(command) in text and "<svg" in text and "BD-rate against avif-psnr" in text
    assert 'href="image.html"' in front and 'href="index.html"' in page and "processor" in front

    def forbidden(*_, **__):
        raise AssertionError("what is there is run again")

    monkeypatch.setattr(subprocess, "run", forbidden)
    assert running.run(None, tmp_path) == results and not capsys.readouterr().out
    monkeypatch.setattr(running, "VERSION", "0.0.0")
    with pytest.raises(AssertionError):
        running.run(None, tmp_path)


def test_a_command_that_fails_ends_the_run_with_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "PLAN", small("--codec", "nonsense"))
    with pytest.raises(FewbitsError, match="ended with 2"):
        running.run(None, tmp_path)


def test_real_sets_are_linked_where_they_are(tmp_path):
    (tmp_path / "data" / "image").mkdir(parents=True)
    draw(tmp_path / "data" / "image")
    words = small()[0].prepare(tmp_path / "data", tmp_path / "site")
    assert words[2] == "sets/real" and (tmp_path / "site" / "sets" / "real" / "drawn.png").is_symlink()
    assert small()[0].prepare(tmp_path / "nothing here", tmp_path / "site")[2] == "sets/drawn"


def test_the_plan_names_codecs_that_exist_and_sets_that_can_be_made(tmp_path):
    kinds = {"speech": "audio", "sound": "audio", "video": "video"}
    for evaluation in PLAN:
        options = evaluation.prepare(None, tmp_path)[3:]
        for word, value in pairwise(options):
            if word == "--codec":
                parse_codec(value, kinds.get(evaluation.name, "image"))
    assert {path.name for path in (tmp_path / "sets").glob("*/*")} == {
        "tower.png", "groot.png", "voice.wav", "saxophone.wav", "film.mkv"}
    assert plan.FRAMES < 100


def test_the_readme_says_what_the_results_say(root):
    text = (root / "README.md").read_text()
    assert "<!-- results:image -->" in text
    assert readme.renewed(text, root / "docs" / "results") == text, "run python -m fewbits.apps.site.readme"


def test_another_result_makes_another_section(root, tmp_path):
    result = json.loads((root / "docs" / "results" / "image.json").read_text())
    for record in result["records"]:
        record["bpp"] *= 0.5 if record["codec"] == "hyperprior" else 1
    (tmp_path / "image.json").write_text(json.dumps(result))
    marked = "a\n<!-- results:image -->\nold\n<!-- /results -->\nb\n"
    made, before = readme.renewed(marked, tmp_path), readme.renewed(marked, root / "docs" / "results")
    assert made.startswith("a\n<!-- results:image -->\nOn the 24 photos") and made.endswith("<!-- /results -->\nb\n")
    halved, whole = (float(re.search(r"hyperprior\*\* \| \*\*(\S+) %", text)[1]) for text in (made, before))
    assert halved == pytest.approx((100 + whole) / 2 - 100, abs=0.1)
    assert "old" not in made
    with pytest.raises(InputError, match="smell"):
        readme.renewed("<!-- results:smell -->\n<!-- /results -->", tmp_path)


def test_the_plot_beside_the_readme_stands_alone_in_both_colours(root):
    drawn = (root / "docs" / "results" / "image.svg").read_text()
    assert drawn.startswith("<svg") and 'xmlns="http://www.w3.org/2000/svg"' in drawn
    assert "prefers-color-scheme: dark" in drawn
    assert all(f">{codec}<" in drawn for codec in ("hyperprior", "mcq", "avif-psnr", "jpeg"))
