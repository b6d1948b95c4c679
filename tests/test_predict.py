"""predict.py: from folder to folder, whatever the files are."""

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import predict
from data.fit import blend_weights
from data.palette import ANIME
from engine import checkpoint
from engine.errors import UserError
from engine.folder import Job, find_jobs
from engine.network import Network
from models import build
from options.load import load, to_dict
from options.seg import DEFAULT_FILE, SegOptions

ROOT = Path(__file__).parents[1]
SMALL = "data.size=32 model.generator=unet model.width=4 model.conv_norm=none".split()  # noqa: SIM905


def make_checkpoint(path: Path, *words: str) -> Path:
    """An untrained seg network as a checkpoint."""
    torch.manual_seed(0)
    opt = load(SegOptions, [*SMALL, *words], DEFAULT_FILE)
    state = build.seg_generator(opt).state_dict()
    checkpoint.save(path, {"family": "seg", "step": 7, "options": to_dict(opt), "best": {}, "G_ema": state})
    return path


@pytest.fixture
def weights(tmp_path) -> Path:
    return make_checkpoint(tmp_path / "run" / "checkpoints" / "step_00000007.pt")


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Six pictures of several sizes and kinds, one of them in a sub-folder."""
    folder = tmp_path / "in"
    (folder / "deep" / "er").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8))
    rgb.save(folder / "wide.png")
    rgb.resize((20, 70)).save(folder / "deep" / "er" / "tall.jpg")
    rgb.convert("L").save(folder / "grey.bmp")
    rgb.convert("P").save(folder / "palette.png")
    rgb.convert("RGBA").save(folder / "rgba.webp")
    Image.fromarray(rng.integers(0, 65536, (33, 21), np.uint16)).save(folder / "deep.png")
    return folder


NAMES = ["deep.png", "deep/er/tall.png", "grey.png", "palette.png", "rgba.png", "wide.png"]


def run(monkeypatch, *words) -> None:
    monkeypatch.setattr(sys, "argv", ["predict.py", "--device", "cpu", *map(str, words)])
    predict.main()


def written(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_folder_keeps_its_names_and_sizes(weights, pictures, tmp_path, monkeypatch, capsys):
    output = tmp_path / "out"
    run(monkeypatch, "--weights", tmp_path / "run", "--input", pictures, "--output", output)
    assert written(output) == NAMES
    for name in NAMES:
        label = Image.open(output / name)
        (source,) = pictures.glob(name[:-3] + "*")
        assert label.mode == "P" and label.size == Image.open(source).size
        assert label.getpalette()[:15] == ANIME.table.ravel().tolist() and np.asarray(label).max() < 5
    assert "6 predicted" in capsys.readouterr().out
    before = {name: (output / name).stat().st_mtime_ns for name in NAMES}
    run(monkeypatch, "--weights", weights, "--input", pictures, "--output", output)
    assert "0 predicted, 6 already there" in capsys.readouterr().out
    assert before == {name: (output / name).stat().st_mtime_ns for name in NAMES}
    (output / "grey.png").write_bytes(b"stale")
    run(monkeypatch, "--weights", weights, "--input", pictures, "--output", output, "--overwrite")
    assert Image.open(output / "grey.png").mode == "P"


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch", "tile"])
def test_every_fit_gives_the_inputs_size(weights, pictures, tmp_path, monkeypatch, fit):
    output = tmp_path / "out"
    run(monkeypatch, "--weights", weights, "--input", pictures, "--output", output, "--fit", fit)
    assert Image.open(output / "wide.png").size == (60, 40)
    assert Image.open(output / "deep/er/tall.png").size == (20, 70)


def test_batches_do_not_change_the_result(weights, pictures, tmp_path, monkeypatch):
    for batch in (1, 4):
        words = ["--weights", weights, "--input", pictures, "--output", tmp_path / f"out{batch}", "--batch", batch]
        run(monkeypatch, *words)
    for name in NAMES:
        one, four = (np.asarray(Image.open(tmp_path / f"out{batch}" / name)) for batch in (1, 4))
        assert (one != four).mean() < 0.01, "but for rounding between nearly equal classes"


def test_overlay_pairs_gallery_grid_and_limit(weights, pictures, tmp_path, monkeypatch):
    output = tmp_path / "out"
    common = ["--weights", weights, "--input", pictures, "--output", output, "--pairs", "--overlay", "--gallery"]
    run(monkeypatch, *common, "--grid", "--limit", 2)
    assert written(output) == [
        "deep.png", "deep/er/tall.png", "deep/er/tall_overlay.png", "deep_overlay.png", "grid.png", "index.html",
    ]  # fmt: skip
    assert Image.open(output / "deep.png").size == (42, 33)
    assert Image.open(output / "deep_overlay.png").size == (21, 33)
    page = (output / "index.html").read_text()
    assert 'href="deep/er/tall.png"' in page and "background" in page and page.count("data:image/") == 2
    assert re.findall("<small>(.*?)</small>", page) == ["input", "output", "overlay"] * 2
    assert Image.open(output / "grid.png").size == (6 * 162 - 2, 160)


def test_a_bad_file_stops_no_other_and_the_exit_code_says_so(weights, pictures, tmp_path):
    (pictures / "text.png").write_text("no picture")
    (pictures / "empty.png").write_bytes(b"")
    whole = (pictures / "wide.png").read_bytes()
    (pictures / "cut.png").write_bytes(whole[: len(whole) // 2])
    Image.new("1", (20_000, 20_000)).save(pictures / "bomb.png")
    Image.new("RGB", (1, 1)).save(pictures / "one.png")
    words = ["--weights", weights, "--input", pictures, "--output", tmp_path / "out", "--device", "cpu"]
    done = subprocess.run([sys.executable, ROOT / "predict.py", *words], capture_output=True, text=True)
    assert done.returncode == 1
    assert written(tmp_path / "out") == NAMES
    assert "6 predicted, 5 failed" in done.stdout
    assert "Traceback" not in done.stderr
    for name in ("text.png", "empty.png", "cut.png", "bomb.png", "one.png"):
        assert str(pictures / name) in done.stderr


def test_two_inputs_with_one_output_name_are_refused(weights, pictures, tmp_path, monkeypatch):
    Image.new("RGB", (8, 8)).save(pictures / "wide.jpg")
    with pytest.raises(UserError, match="is also that of .*rename one"):
        run(monkeypatch, "--weights", weights, "--input", pictures, "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (pictures / "wide.jpg").unlink()
    Image.new("RGB", (8, 8)).save(pictures / "wide_overlay.png")
    with pytest.raises(UserError, match="wide_overlay.png is also that of"):
        run(monkeypatch, "--weights", weights, "--input", pictures, "--output", tmp_path / "out", "--overlay")


def test_input_and_output_folders(pictures, tmp_path):
    with pytest.raises(UserError, match="is the input folder"):
        find_jobs(pictures, pictures, ())
    with pytest.raises(UserError, match="no such folder"):
        find_jobs(tmp_path / "missing", tmp_path / "out", ())
    inside = pictures / "out"
    inside.mkdir()
    Image.new("RGB", (8, 8)).save(inside / "before.png")
    assert inside / "before.png" not in [job.source for job in find_jobs(pictures, inside, ())]
    (job,) = find_jobs(pictures / "wide.png", tmp_path / "out", ())
    assert job.target == tmp_path / "out" / "wide.png"
    with pytest.raises(UserError, match="would overwrite it"):
        find_jobs(pictures / "wide.png", pictures, ())
    with pytest.raises(UserError, match="is a file"):
        find_jobs(pictures, pictures / "wide.png", ())
    Image.new("RGB", (8, 8)).save(pictures / "grid.png")
    with pytest.raises(UserError, match="grid.png is also that of the program"):
        find_jobs(pictures, tmp_path / "out", (), reserved=("grid.png",))


def test_a_failed_or_filtered_picture_is_not_in_the_gallery(weights, pictures, tmp_path, monkeypatch, capsys):
    common = ["--weights", weights, "--input", pictures, "--output", tmp_path / "out", "--gallery"]
    run(monkeypatch, *common)
    (pictures / "wide.png").write_bytes(b"")
    with pytest.raises(UserError, match="1 of 6 files failed"):
        run(monkeypatch, *common, "--overwrite")
    assert "5 predicted, 1 failed" in capsys.readouterr().out
    assert "wide" not in (tmp_path / "out" / "index.html").read_text()


def test_pairs_as_inputs_show_their_left_half(weights, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (32, 32, 3), np.uint8)
    for name, array in (("single", picture), ("pair", np.concatenate([picture, picture[::-1]], axis=1))):
        (tmp_path / name).mkdir()
        Image.fromarray(array).save(tmp_path / name / "a.png")
    for layout in ("single", "pair"):
        words = ["--weights", weights, "--input", tmp_path / layout, "--output", tmp_path / f"out_{layout}"]
        run(monkeypatch, *words, "--layout", layout)
    a, b = (np.asarray(Image.open(tmp_path / f"out_{layout}" / "a.png")) for layout in ("single", "pair"))
    assert np.array_equal(a, b)


class Bomb:
    def __reduce__(self):
        return (os.system, ("touch bomb-went-off",))


def test_bad_weights_are_one_line(weights, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("cut.pt").write_bytes(weights.read_bytes()[:1000])
    with open("code.pt", "wb") as file:
        pickle.dump(Bomb(), file)
    checkpoint.save(Path("other.pt"), {"family": "cyclegan", "step": 1, "options": {}})
    content = checkpoint.load(weights)
    checkpoint.save(Path("misfit.pt"), content | {"G_ema": {"weight": torch.zeros(3)}})
    checkpoint.save(Path("options.pt"), content | {"options": {"run": {"speed": 3}}})
    Path("empty").mkdir()
    checkpoint.save(Path("noema.pt"), {key: content[key] for key in ("family", "step", "options")})
    Path("paren.pt").write_text("(not a pickle")
    cases = {
        "cut.pt": "damaged",
        "noema.pt": "G_ema",
        "paren.pt": "damaged",
        "code.pt": "code",
        "other.pt": "cyclegan",
        "misfit.pt": "do not fit",
        "options.pt": "run.speed",
        "missing.pt": "no such checkpoint",
        "empty": "no checkpoint",
    }
    for name, words in cases.items():
        with pytest.raises(UserError) as caught:
            run(monkeypatch, "--weights", name, "--input", pictures, "--output", "out")
        assert name in str(caught.value) and words in str(caught.value) and "\n" not in str(caught.value)
    assert not Path("bomb-went-off").exists() and not Path("out").exists()


def test_a_run_folder_means_its_best_checkpoint_else_its_newest(weights):
    folder = weights.parents[1]
    assert checkpoint.find(folder) == weights
    newer = make_checkpoint(weights.with_name("step_00000010.pt"))
    assert checkpoint.find(folder) == newer
    best = make_checkpoint(weights.with_name("best.pt"))
    assert checkpoint.find(folder) == best


def test_batch_statistics_are_those_of_each_picture_alone(pictures, tmp_path, monkeypatch):
    weights = make_checkpoint(tmp_path / "batch.pt", "sample.norm_stats=batch")
    common = ["--weights", weights, "--input", pictures]
    run(monkeypatch, *common, "--output", tmp_path / "a", "--batch", 4)
    run(monkeypatch, *common, "--output", tmp_path / "b", "--batch", 1, "--norm-stats", "batch")
    run(monkeypatch, *common, "--output", tmp_path / "c", "--norm-stats", "running")
    read = lambda folder: [np.asarray(Image.open(tmp_path / folder / name)) for name in NAMES]  # noqa: E731
    assert all(map(np.array_equal, read("a"), read("b")))
    assert not all(map(np.array_equal, read("a"), read("c")))


def test_native_size_predicts_pictures_as_they_are(pictures, tmp_path, monkeypatch):
    weights = make_checkpoint(tmp_path / "native.pt", "data.size=native")
    run(monkeypatch, "--weights", weights, "--input", pictures, "--output", tmp_path / "out")
    network, opt, family = predict.load_network(str(weights), torch.device("cpu"))
    picture = np.array(Image.open(pictures / "wide.png").convert("RGB"))
    expected = network(torch.from_numpy(picture).permute(2, 0, 1)[None].float().contiguous() / 255).argmax(1)[0]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "wide.png")), expected.numpy())


def test_tiles_of_a_local_network_join_without_a_seam():
    seen = []

    def forward(x, names):  # a network that looks at one pixel only
        seen.append(tuple(x.shape[2:]))
        return x[:, :2].float()

    picture = np.random.default_rng(0).integers(0, 256, (75, 50, 3), np.uint8)
    job = Job(Path("a.jpg"), Path("a.png"), "a")
    network = Network(forward, (32, 32), "tile", 3, torch.device("cpu"))
    (item,) = network.maps([network.item(job, picture)])
    assert set(seen) == {(32, 32)}
    np.testing.assert_allclose(network.restored(item).numpy(), picture.transpose(2, 0, 1)[:2], atol=1e-3)
    assert (blend_weights((32, 32), 8) > 0).all()


def test_the_filter_leaves_pictures_out_and_counts_them(weights, pictures, tmp_path, monkeypatch, capsys):
    run(monkeypatch, "--weights", weights, "--input", pictures, "--output", tmp_path / "out", "--filter")
    last = capsys.readouterr().out.splitlines()[-1]
    count, left_out = int(last.split()[0]), sum(map(int, re.findall(r"(\d+) left out", last)))
    assert left_out > 0 and count + left_out == 6
    assert len(written(tmp_path / "out")) == count
    other = make_checkpoint(tmp_path / "other.pt", "data.classes=a,b")
    with pytest.raises(UserError, match="--filter"):
        run(monkeypatch, "--weights", other, "--input", pictures, "--output", tmp_path / "out", "--filter")


@pytest.mark.parametrize("words", [["--edges"], ["--samples", 2], ["--low", 0]])
def test_arguments_of_another_family_are_refused(weights, pictures, tmp_path, monkeypatch, words):
    with pytest.raises(UserError, match=f"{words[0]}: is for pix2pix.*, but the checkpoint is of seg") as caught:
        run(monkeypatch, "--weights", weights, "--input", pictures, "--output", tmp_path / "out", *words)
    assert caught.value.code == 2 and not (tmp_path / "out").exists()
