"""data/collecting/clean.py, aside.py, contact_pages.py and scripts/clean_images.py."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from data.sample import draw
from engine.errors import UserError
from scripts.clean_images import main

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def drawings() -> list[Image.Image]:
    return [Image.fromarray(draw(i, 96).picture) for i in range(6)]


@pytest.fixture
def folder(tmp_path, drawings) -> Path:
    """One picture for every reason, and six sound ones."""
    folder = tmp_path / "my faces"
    (folder / "deep").mkdir(parents=True)
    for i, drawing in enumerate(drawings):
        drawing.save(folder / f"{i}.png")
    drawings[0].save(folder / "deep" / "same.bmp")
    drawings[1].resize((80, 80)).save(folder / "deep" / "copy.jpg", quality=70)
    drawings[2].resize((200, 200)).save(folder / "large.png")
    drawings[3].resize((40, 90)).save(folder / "narrow.png")
    Image.new("RGB", (96, 96), (250, 250, 252)).save(folder / "page.png")
    (folder / "deep" / "none.png").touch()
    (folder / "cut.png").write_bytes((folder / "4.png").read_bytes()[:900])
    (folder / "text.jpg").write_text("no picture")
    return folder


EXPECTED = {
    "deep/same.bmp": "duplicate",
    "deep/copy.jpg": "near",
    "2.png": "near",  # the larger one is kept
    "narrow.png": "small",
    "page.png": "flat",
    "deep/none.png": "empty",
    "cut.png": "broken",
    "text.jpg": "broken",
}


def written(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in written(folder)}


def run(folder: Path, *words) -> None:
    main(["--input", str(folder), *map(str, words)])


def lines_of(report: Path) -> list[dict]:
    with report.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_everything_is_found_moved_and_moved_back(folder, tmp_path, capsys):
    before = contents(folder)
    run(folder)
    moved = tmp_path / "my faces-removed"
    assert written(moved) == sorted(["report.csv", *(f"{reason}/{name}" for name, reason in EXPECTED.items())])
    assert written(folder) == sorted(set(before) - set(EXPECTED))
    lines = {Path(line["file"]).relative_to(folder).as_posix(): line for line in lines_of(moved / "report.csv")}
    assert {name: line["reason"] for name, line in lines.items()} == EXPECTED
    assert lines["deep/same.bmp"]["of"] == str(folder / "0.png") and lines["2.png"]["of"] == str(folder / "large.png")
    assert lines["narrow.png"]["detail"] == "40x90 pixels"
    assert all(Path(line["moved_to"]).is_file() for line in lines.values())
    assert "1 empty, 2 broken, 1 small, 1 flat, 1 duplicate, 2 near" in capsys.readouterr().out

    run(folder)
    assert "nothing found" in capsys.readouterr().out and not (moved / "report_2.csv").exists()
    main(["--restore", str(moved / "report.csv")])
    assert contents(folder) == before and written(moved) == ["report.csv"]
    assert "8 files moved back, 0 were in their place" in capsys.readouterr().out
    main(["--restore", str(moved / "report.csv")])
    assert "0 files moved back, 8 were in their place" in capsys.readouterr().out


def test_a_dry_run_only_says(folder, tmp_path, capsys):
    before = contents(tmp_path)
    run(folder, "--dry-run")
    assert contents(tmp_path) == before
    out = capsys.readouterr().out
    for name, reason in EXPECTED.items():
        assert f"{folder / name}: {reason}" in out
    run(folder, "--dry-run", "--report", tmp_path / "plan.csv")
    assert len(lines_of(tmp_path / "plan.csv")) == len(EXPECTED) and contents(folder) == {
        name.removeprefix("my faces/"): content for name, content in before.items()
    }


def test_the_limits_are_the_users(folder, tmp_path):
    run(folder, "--min-side", 1, "--flat", 0, "--near", "none", "--moved", tmp_path / "out")
    kept = {"narrow.png", "page.png", "deep/copy.jpg", "2.png"}
    assert set(written(folder)) & set(EXPECTED) == kept


def test_nothing_is_overwritten(folder, tmp_path):
    moved = tmp_path / "my faces-removed"
    run(folder)
    first = contents(moved)
    for name in ("deep/none.png", "page.png"):
        (folder / name).write_bytes(b"")
    run(folder)
    assert set(written(moved)) - set(first) == {"empty/deep/none_2.png", "empty/page.png", "report_2.csv"}
    assert {name: content for name, content in contents(moved).items() if name in first} == first

    (folder / "deep" / "none.png").write_bytes(b"new")
    with pytest.raises(UserError, match="1 files failed(.|\n)*deep/none.png: is there already"):
        main(["--restore", str(moved / "report_2.csv")])
    assert (folder / "deep" / "none.png").read_bytes() == b"new" and (moved / "empty/deep/none_2.png").exists()
    assert (folder / "page.png").exists(), "the others go back"


def test_a_report_of_an_interrupted_run_moves_back_what_was_moved(folder, tmp_path, monkeypatch):
    before, calls = contents(folder), []

    def move(source, target):
        calls.append(source)
        if len(calls) == 4:
            raise KeyboardInterrupt
        Path(source).rename(target)

    monkeypatch.setattr("data.collecting.aside.shutil.move", move)
    with pytest.raises(KeyboardInterrupt):
        run(folder)
    monkeypatch.undo()
    assert len(written(folder)) == len(before) - 3
    main(["--restore", str(tmp_path / "my faces-removed" / "report.csv")])
    assert contents(folder) == before


def test_what_the_system_does_not_let_us_read_stays(folder, tmp_path):
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(UserError, match="1 files failed(.|\n)*gone.png: No such file"):
        run(folder)
    assert (folder / "gone.png").is_symlink() and not (folder / "cut.png").exists(), "the others are moved"


def test_pages_and_the_users_choice(folder, tmp_path, capsys):
    pages = tmp_path / "pages"
    run(folder, "--sheet", pages)
    assert written(pages) == ["cells.csv", "page_001.jpg"]
    cells = {line["file"]: line["cell"] for line in lines_of(pages / "cells.csv")}
    assert list(cells) == written(folder) and cells["0.png"] == "1-1"
    assert Image.open(pages / "page_001.jpg").size == (6 * 120 + 5 * 6, 148)

    choice = pages / "reject.txt"
    choice.write_text(f"\ufeff# my choice\n\n{cells['1.png']}\n  large.png \n{folder / '3.png'}\n", encoding="utf-8")
    run(folder, "--reject", choice)
    assert set(written(tmp_path / "my faces-removed/rejected")) == {"1.png", "large.png", "3.png"}
    capsys.readouterr()
    run(folder, "--reject", choice)
    assert "3 of" in (out := capsys.readouterr().out) and "moved aside already" in out and "nothing found" in out

    kept = written(folder)
    choice.write_text("0.png\nnobody.png\n7-7\n")
    with pytest.raises(UserError, match="nobody.png, 7-7: no such picture"):
        run(folder, "--reject", choice)
    assert written(folder) == kept
    with pytest.raises(UserError, match="pages: is there already"):
        run(folder, "--sheet", pages)


def test_a_name_that_is_there_twice_must_be_whole(tmp_path, drawings):
    folder = tmp_path / "in"
    for i, name in enumerate(["a/x.png", "b/x.png", "b/ü.png"]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        drawings[i].save(folder / name)
    choice = tmp_path / "list.txt"
    choice.write_text("x.png\n")
    with pytest.raises(UserError, match="x.png: no such picture .*the whole one"):
        run(folder, "--reject", choice)
    choice.write_text("b\\x.png\nü.png\n", encoding="utf-8")
    run(folder, "--reject", choice)
    assert written(folder) == ["a/x.png"]


@pytest.mark.parametrize("name", ["faces/out", "faces", "."])
def test_folders_that_a_training_would_read_are_refused(name, tmp_path, drawings, monkeypatch):
    (tmp_path / "faces" / "small").mkdir(parents=True)
    drawings[0].save(tmp_path / "faces" / "small" / "a.png")
    monkeypatch.chdir(tmp_path / ("faces" if name == "." else ""))
    source = "small" if name == "." else "faces"  # ./small is where small pictures of . would go
    for word in ("--moved", "--sheet"):
        with pytest.raises(UserError, match=f"{name}: is inside --input {source}") as error:
            run(Path(source), word, name)
        assert error.value.code == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--near", "49"], "49: expected 0 to 48, or none"),
        (["--near", "x"], "expected 0 to 48"),
        (["--flat", "nan"], "--flat nan: expected 0 to 255"),
        (["--min-side", "0"], "--min-side 0: expected 1"),
        (["--restore", "r.csv"], "not allowed with"),
    ],
)
def test_wrong_arguments(words, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as error:
        run(tmp_path, *words)
    assert error.value.code == 2 and message in capsys.readouterr().err


def test_reports_that_are_none(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--restore", "r.csv", "--dry-run"])
    assert "--restore: takes no --dry-run" in capsys.readouterr().err
    report = tmp_path / "r.csv"
    for content in (None, b"", b"a,b\n1,2\n", b"\x00\x01", b"file,reason,of,detail,moved_to\nx,,,,\n"):
        if content is not None:
            report.write_bytes(content)
        with pytest.raises(UserError, match="--restore .*r.csv: ") as error:
            main(["--restore", str(report)])
        assert error.value.code == 2 and "\n" not in str(error.value)


def test_the_script_itself(folder):
    words = [sys.executable, ROOT / "scripts" / "clean_images.py", "--input", folder / "nowhere"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
