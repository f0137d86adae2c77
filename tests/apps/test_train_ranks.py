"""Training in two processes beside training in one, with the same batches."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from fewbits.apps.cli.main import main
from fewbits.apps.train import ranks

pytest.importorskip("tensorboard", reason="training needs fewbits[train]")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for number in range(2):
        rough = generator.integers(0, 256, (13, 13, 3), dtype=np.uint8)
        PillowImage.fromarray(rough).resize((192, 192), PillowImage.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def results(photos: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """What one process says alone, what each of two says, and how rank 0 ends after the other has."""
    out = tmp_path_factory.mktemp("ranks")
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # as torchrun has one
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "OMP_NUM_THREADS": "1",
              "TORCHELASTIC_USE_AGENT_STORE": "True", "PYTHONPATH": str(root)}
    program = Path(__file__).with_name("training_together.py")
    said = [out / "said-by-0", out / "said-by-1"]
    processes = [subprocess.Popen([sys.executable, program, photos, out], stderr=said[number].open("w"),
                                  env=os.environ | shared | {"RANK": f"{number}", "LOCAL_RANK": f"{number}"})
                 for number in (0, 1)]
    try:
        code = processes[0].wait(timeout=240)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    found = {path.stem: torch.load(path, weights_only=False) for path in out.glob("*.pt")}
    assert set(found) == {"alone", "rank-0", "rank-1"}, [path.read_text() for path in said]
    return found | {"end": {"said": said[0].read_text(), "code": code}}


@pytest.mark.slow
def test_two_ranks_learn_what_one_process_learns_from_the_joint_batches(results) -> None:
    alone, first, second = (results[name]["first"] for name in ("alone", "rank-0", "rank-1"))
    assert len(first["losses"]) == len(second["losses"]) == len(alone["losses"]) == 4  # by the clock of rank 0
    assert np.mean([first["losses"], second["losses"]], 0) == pytest.approx(alone["losses"], rel=1e-4)
    torch.testing.assert_close(first["peaks"], alone["peaks"], rtol=1e-2, atol=1e-2)
    assert torch.equal(first["weights"], second["weights"])
    moved = (results["alone"]["on"]["weights"] - alone["weights"]).norm()
    assert (first["weights"] - alone["weights"]).norm() < 0.2 * moved  # Muon rounds to bfloat16 on its way


@pytest.mark.slow
def test_only_rank_0_writes_and_all_go_on_from_what_it_wrote(results) -> None:
    first, second = results["rank-0"], results["rank-1"]
    assert {"checkpoint.pt", "log"} < set(first["files"]) and second["files"] == []
    assert first["on"]["said"][0].startswith("going on from step 4") and second["on"]["said"] == []
    assert len(second["on"]["losses"]) == 4
    assert torch.equal(first["on"]["weights"], second["on"]["weights"])
    drawn = [result[run]["drawn"] for result in (first, second) for run in ("first", "on")]
    assert len({total for totals in drawn for total in totals}) == 16  # no crops twice


@pytest.mark.slow
def test_codebooks_and_multipliers_see_the_joint_batch(results) -> None:
    for name, value in results["alone"]["codebooks"].items():
        for rank in ("rank-0", "rank-1"):
            torch.testing.assert_close(results[rank]["codebooks"][name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_circuits_do_not_depend_on_how_many_count(results) -> None:
    assert results["rank-0"]["circuit"] == results["rank-1"]["circuit"]
    np.testing.assert_allclose(results["rank-0"]["circuit"], results["alone"]["circuit"], rtol=1e-5)


@pytest.mark.slow
def test_a_rank_that_is_left_alone_says_so(results) -> None:
    assert results["end"]["code"] == 1
    assert results["end"]["said"].strip().endswith("they go on from the last checkpoint.")


def test_what_one_process_does_is_refused_under_torchrun(photos, monkeypatch, capsys) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(sys, "argv", ["fewbits", "train", "overfit", str(photos)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2 and "without torchrun" in capsys.readouterr().err


def test_alone_nothing_happens() -> None:
    with ranks.joined("cpu") as device:
        assert (device, ranks.rank(), ranks.world(), ranks.of_first("x")) == ("cpu", 0, 1, "x")


@pytest.mark.slow
def test_torchrun_starts_the_command_line(root, tmp_path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (40, 4, 4), dtype=np.uint8)):
        PillowImage.fromarray(pixels).save(images / f"{number:02}.png")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "fewbits",
               "train", "circuit-tree", str(images), "-o", str(tmp_path / "run"), "--states", "2", "--passes", "1"]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True,
                          timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("pass 1:") == done.stdout.count("To use the weights") == 1
    assert (tmp_path / "run" / "run.safetensors").is_file()
