"""data/edges.py and scripts/preprocess_edges.py: auto-canny, and folders of pictures to folders of pairs."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data.edges import auto_canny, edge_picture, make_pair, make_pairs
from data.files import find_pairs, read_two
from data.fit import fit_picture
from data.images import read_picture
from engine.errors import UserError
from engine.folder import beside
from scripts.preprocess_edges import main

ROOT = Path(__file__).parents[1]
CHIMERA = ROOT.parent / "shared" / "data" / "chimera" / "train"


BT601 = np.array([0.299, 0.587, 0.114])


def scene(height: int = 60, width: int = 90, seed: int = 0) -> np.ndarray:
    """Soft blobs of many colours with some noise: lines of every strength, and no grey that rounding could move."""
    rng = np.random.default_rng(seed)
    blobs = cv2.resize(rng.integers(0, 256, (12, 16, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    picture = (blobs.astype(int) + rng.integers(-12, 13, (height, width, 3))).clip(0, 255).astype(np.uint8)
    between = np.abs(picture @ BT601 % 1 - 0.5) < 0.05
    picture[between] = picture[between][:, 1:2]
    return picture


def grey_and_median(picture: np.ndarray) -> tuple[np.ndarray, float]:
    """The blurred grey and its median, in NumPy's words."""
    grey = np.floor(picture @ BT601 + 0.5).astype(np.int64)
    rows = np.pad(grey, 1, mode="reflect")
    rows = rows[:-2] + 2 * rows[1:-1] + rows[2:]
    blurred = (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:] + 8) // 16
    ordered = np.sort(blurred.ravel())
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    return blurred.astype(np.uint8), float(median)


@pytest.mark.parametrize("sigma", [0, 0.1, 0.33, 0.9, 1])
@pytest.mark.parametrize("seed", range(4))
def test_thresholds_lie_around_the_median_of_the_blurred_grey(sigma, seed):
    picture = scene(61, 83 + seed, seed)
    blurred, median = grey_and_median(picture)
    lower, upper = max(0, int((1 - sigma) * median)), min(255, int((1 + sigma) * median))
    edges = auto_canny(picture, sigma)
    assert edges.dtype == np.uint8 and edges.shape == picture.shape[:2] and set(np.unique(edges)) == {0, 255}
    np.testing.assert_array_equal(edges, cv2.Canny(blurred, lower, upper, apertureSize=3, L2gradient=False))
    np.testing.assert_array_equal(auto_canny(picture[:, ::-1][:, ::-1], sigma), edges)


def test_fixed_thresholds_replace_the_medians():
    picture = scene()
    blurred, median = grey_and_median(picture)
    lower, upper = int(0.67 * median), int(1.33 * median)
    assert 50 < lower < upper < 250
    for given, expected in [
        ({"low": 20}, (20, upper)),
        ({"high": 250}, (lower, 250)),
        ({"low": 200, "high": 255}, (200, 255)),
        ({"low": 0, "high": 0}, (0, 0)),
        ({"low": 250}, (250, 250)),  # the computed upper one gives way
        ({"high": 30}, (30, 30)),
    ]:
        np.testing.assert_array_equal(auto_canny(picture, **given), cv2.Canny(blurred, *expected), str(given))
    counts = [auto_canny(picture, low=low, high=255).sum() for low in (0, 100, 200, 255)]
    assert sorted(counts, reverse=True) == counts and counts[0] > counts[-1]


@pytest.mark.parametrize("grey", [0, 1, 100, 255])
def test_a_flat_picture_has_no_edges(grey):
    flat = np.full((20, 30, 3), grey, np.uint8)
    assert not auto_canny(flat).any() and not edge_picture(flat).any()


def test_a_step_is_one_line_and_a_white_page_clips_the_threshold():
    step = np.zeros((20, 30, 3), np.uint8)
    step[:, 15:] = 255
    edges = auto_canny(step)
    assert (edges.astype(bool).sum(axis=1) == 1).all() and set(np.nonzero(edges)[1]) <= {14, 15}
    page = np.full((40, 40, 3), 255, np.uint8)  # median 255: thresholds 170 and 255, where 1.33 x 255 is 339
    page[:, 20] = 105  # blurred 180, so 4 x (255 - 180) = 300 is the gradient beside it
    assert auto_canny(page).any()
    np.testing.assert_array_equal(edge_picture(page), auto_canny(page)[..., None].repeat(3, axis=2))


def test_a_pair_is_the_fitted_picture_and_its_edges():
    picture = scene(30, 80)
    pair = make_pair(picture, 64, sigma=0.2, low=30)
    assert pair.shape == (64, 128, 3) and pair.dtype == np.uint8
    fitted = fit_picture(picture, (64, 64), "pad")
    assert fitted.inside == (20, 0, 24, 64), "the aspect is kept"
    np.testing.assert_array_equal(pair[:, :64], fitted.picture)
    np.testing.assert_array_equal(pair[:, 64:], edge_picture(fitted.picture, 0.2, 30))
    np.testing.assert_array_equal(make_pair(picture, 64, sigma=0.2, low=30, edges_only=True), pair[:, 64:])


def test_the_border_is_repeated_or_white():
    picture = np.full((16, 32, 3), 90, np.uint8)
    picture[:, ::4] = 30
    repeated, white = (make_pair(picture, 32, pad) for pad in ("replicate", "white"))
    np.testing.assert_array_equal(repeated[:8, :32], repeated[8:9, :32].repeat(8, 0))
    assert (white[:8, :32] == 255).all() and (white[24:, :32] == 255).all()
    np.testing.assert_array_equal(white[8:24, :32], repeated[8:24, :32])
    assert white[7:9, 32:].any() and not white[:6, 32:].any()


@pytest.fixture
def pictures(tmp_path) -> Path:
    """A picture of every kind, some in sub-folders."""
    folder = tmp_path / "in"
    (folder / "deep" / "er").mkdir(parents=True)
    rgb = Image.fromarray(scene())
    rgb.save(folder / "wide.png")
    rgb.resize((20, 70)).save(folder / "deep" / "er" / "tall.jpg")
    rgb.convert("L").save(folder / "grey.bmp")
    rgb.convert("P").save(folder / "palette.gif")
    turned = Image.Exif()
    turned[0x0112] = 6
    rgb.save(folder / "turned.jpg", exif=turned)
    deep = np.asarray(rgb.convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(folder / "deep" / "sixteen.png")
    return folder


NAMES = ["deep/er/tall.png", "deep/sixteen.png", "grey.png", "palette.png", "turned.png", "wide.png"]


def run(source: Path, output: Path, *words) -> None:
    main(["--input", str(source), "--output", str(output), "--size", "32", *map(str, words)])


def written(folder: Path) -> dict[str, np.ndarray]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): np.asarray(Image.open(path)) for path in files}


def test_a_folder_of_all_kinds_keeps_its_names(pictures, tmp_path, capsys):
    run(pictures, tmp_path / "my pairs")
    made = written(tmp_path / "my pairs")
    assert list(made) == NAMES
    for name, pair in made.items():
        (source,) = pictures.glob(name[:-3] + "*")
        np.testing.assert_array_equal(pair, make_pair(read_picture(source), 32), name)
        assert set(np.unique(pair[:, 32:])) == {0, 255}
    turned = made["turned.png"]  # 90 x 60 stored, 60 x 90 shown: bands to the left and the right
    np.testing.assert_array_equal(turned[:, :5], turned[:, 5:6].repeat(5, 1))
    assert np.abs(made["deep/sixteen.png"].astype(int) - made["grey.png"])[:, :32].max() <= 1
    out = capsys.readouterr().out
    assert f"6 written -> {tmp_path / 'my pairs'}\n" in out
    folder = (tmp_path / "my pairs").as_posix()
    assert f"next: python train_pix2pix.py options/pix2pix_chimera.yaml 'data.root={folder}'" in out
    photo, edges = read_two(find_pairs(tmp_path / "my pairs")[-1])
    np.testing.assert_array_equal(np.hstack([photo, edges]), made["wide.png"])


def test_transparency_is_white_before_the_resize(tmp_path):
    """Hidden black around a light disc would leave a dark ring, and a second line, if it were resized first."""
    y, x = np.mgrid[:150, :150]
    inside = (y - 75) ** 2 + (x - 75) ** 2 < 60**2
    rgba = np.zeros((150, 150, 4), np.uint8)
    rgba[inside] = (200, 200, 200, 255)
    (tmp_path / "in").mkdir()
    Image.fromarray(rgba).save(tmp_path / "in" / "disc.png")
    run(tmp_path / "in", tmp_path / "out", "--low", 20, "--high", 60)
    pair = written(tmp_path / "out")["disc.png"]
    assert pair[:, :32].min() >= 190 and (pair[0, :32] == 255).all()
    edges = pair[..., 0][:, 32:] > 0
    assert edges[16].sum() == 2, "one line on either side"


def test_bad_files_stop_no_other_and_the_exit_code_says_so(pictures, tmp_path):
    (pictures / "text.png").write_text("no picture")
    (pictures / "empty.png").write_bytes(b"")
    whole = (pictures / "wide.png").read_bytes()
    (pictures / "cut.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (7, 50)).save(pictures / "narrow.png")
    words = ["--input", pictures, "--output", tmp_path / "out", "--size", "32"]
    script = ROOT / "scripts" / "preprocess_edges.py"
    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert list(written(tmp_path / "out")) == NAMES
    assert "6 written, 4 failed" in done.stdout and "4 of 10 files failed" in done.stderr
    for name in ("text.png", "empty.png", "cut.png", "narrow.png"):
        assert done.stderr.count(str(pictures / name)) == 2, "as it happens and in the list at the end"


def test_existing_pairs_are_kept_unless_overwrite(pictures, tmp_path, capsys):
    output = tmp_path / "out"
    output.mkdir()
    Image.new("RGB", (3, 3)).save(output / "wide.png")
    run(pictures, output)
    assert "5 written, 1 already there (--overwrite makes them again)" in capsys.readouterr().out
    assert written(output)["wide.png"].shape == (3, 3, 3)
    run(pictures, output, "--overwrite")
    assert "6 written ->" in capsys.readouterr().out
    assert written(output)["wide.png"].shape == (32, 64, 3)


def test_edges_only_and_a_single_file(pictures, tmp_path, capsys):
    run(pictures, tmp_path / "pairs", "--pairs", "--sigma", 0.5, "--pad", "white")
    run(pictures / "wide.png", tmp_path / "edges", "--edges-only", "--sigma", 0.5, "--pad", "white")
    assert "next: python predict.py --weights RUN --input" in capsys.readouterr().out
    edges = written(tmp_path / "edges")
    assert list(edges) == ["wide.png"] and edges["wide.png"].shape == (32, 32, 3)
    np.testing.assert_array_equal(edges["wide.png"], written(tmp_path / "pairs")["wide.png"][:, 32:])


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_workers_change_nothing(pictures, tmp_path, workers):
    (pictures / "bad.png").write_bytes(b"bad")
    jobs = [(path, tmp_path / f"{path.stem}.png") for path in sorted(pictures.rglob("*.*"))]
    made = make_pairs(jobs, 32, workers, low=40)
    assert made.written == [target for source, target in jobs if source.name != "bad.png"]
    (line,) = made.failed
    assert line.startswith(f"{pictures / 'bad.png'}: not a picture")
    for source, target in jobs:
        if source.name != "bad.png":
            np.testing.assert_array_equal(read_picture(target), make_pair(read_picture(source), 32, low=40))
    assert not list(tmp_path.glob("*.part"))


def test_a_target_that_cannot_be_written_ends_the_work(pictures, tmp_path):
    (tmp_path / "file").touch()
    jobs = [(pictures / "wide.png", beside(tmp_path / "file" / "a.png", f"{i}.png")) for i in range(50)]
    with pytest.raises(UserError, match="cannot be written"):
        make_pairs(jobs, 32, 2)


def test_equal_stems_and_mixed_up_folders_are_refused(pictures, tmp_path):
    with pytest.raises(UserError, match="is the input folder"):
        run(pictures, pictures)
    with pytest.raises(UserError, match="no such folder"):
        run(tmp_path / "missing", tmp_path / "out")
    Image.new("RGB", (9, 9)).save(pictures / "wide.jpg")
    with pytest.raises(UserError, match="wide.png is also that of .*rename one"):
        run(pictures, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words",
    ["--size 15", "--size 8193", "--size 2.5", "--sigma nan", "--sigma inf", "--sigma -0.1", "--sigma 1.1", "--low -1"]
    + ["--low 2041", "--high 2041", "--low 9 --high 8", "--workers -1", "--workers 129", "--pad black"]
    + ["--pairs --edges-only"],
)
def test_odd_arguments_are_refused(words, pictures, tmp_path, capsys):
    with pytest.raises((SystemExit, UserError)) as caught:
        main(["--input", str(pictures), "--output", str(tmp_path / "out"), *words.split()])
    said = capsys.readouterr().err + str(caught.value)
    assert caught.value.code == 2 and words.split()[0][2:] in said
    assert not (tmp_path / "out").exists()


def overlap(ours: np.ndarray, theirs: np.ndarray) -> float:
    """F1 of two boolean edge maps [H, W], where a pixel may lie one beside the other."""
    near_ours, near_theirs = (cv2.dilate(edges.astype(np.uint8), np.ones((3, 3))) > 0 for edges in (ours, theirs))
    precision = (ours & near_theirs).sum() / max(1, ours.sum())
    recall = (theirs & near_ours).sum() / max(1, theirs.sum())
    return 2 * precision * recall / max(1e-9, precision + recall)


@pytest.mark.shared
@pytest.mark.skipif(not CHIMERA.is_dir(), reason="needs ../shared")
def test_edges_are_those_of_the_original_project():
    pairs = [read_two(sample) for sample in find_pairs(CHIMERA)]
    scores = np.array([overlap(auto_canny(photo) > 0, edges[..., 0] > 127) for photo, edges in pairs])
    assert len(scores) == 300 and scores.mean() >= 0.975 and scores.min() >= 0.7, (scores.mean(), scores.min())
