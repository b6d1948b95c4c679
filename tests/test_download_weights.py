"""options/weights.yaml, scripts/download_weights.py and predict.py --weights NAME."""

import hashlib
import os
import re
import sys
from pathlib import Path

import chainer
import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

import predict
from engine import checkpoint
from engine.errors import UserError
from models.chainer_tables import UNET
from models.imports import FAMILIES
from models.pretrained import find
from models.seg_unet import SegUNet
from options import published
from options.load import from_dict
from scripts.download_weights import main

pytest_plugins = ["tests.file_server"]

LIST = """
tiny:
  family: seg
  what: a tiny network
  licence: &ours ours
  verified: true
  files:
    G: {{name: tiny.npz, urls: ["{url}/G"], kind: npz}}
    D: {{name: tiny-D.npz, urls: ["{url}/D"], sha256: {sha256}}}
  options: {{sample: {{norm_stats: batch}}}}
other:
  family: other
  what: no network
  licence: *ours
  verified: false
  files:
    text: {{name: a.txt, urls: ["{url}/text"], size: 4}}
"""
D = b"not read here"


@pytest.fixture
def there(site, tmp_path, monkeypatch):
    """A list of its own, and its files on a server."""
    file = tmp_path / "weights.yaml"
    file.write_text(LIST.format(url=site.url, sha256=hashlib.sha256(D).hexdigest()))
    monkeypatch.setattr(published, "LIST", file)
    torch.manual_seed(0)
    weights = chainer.save(tmp_path / "any.npz", chainer.formula_file(SegUNet(5, 4), UNET))
    site.put("/G", weights.read_bytes())
    site.put("/D", D)
    site.put("/text", b"text")
    return site


def error_of(*words: str) -> UserError:
    with pytest.raises(UserError) as error:
        main([str(word) for word in words])
    return error.value


# The list


def test_the_entries_of_the_issue():
    entries = published.read_list()
    ids = {
        "seg-original": ("1k9WSqT8H2t5WSO_dfaERrA90N4R_nehO", "1RKNIU6VWsDRcb0AiCWjEMrtTlhJCx_Hs"),
        "spade-original": ("1Epo89V02NXmyVrzTKtPlWrrHNN-qcOD4", "1IiPpRQc90rK4vycHnUQIS4rtoKehzB5o"),
    }
    for name, (G, D) in ids.items():
        addresses = {role: file.urls[0] for role, file in entries[name].files.items()}
        assert addresses == {role: f"https://drive.google.com/uc?id={id_}" for role, id_ in (("G", G), ("D", D))}
    assert entries["animegan"].files["G"].git_blob == "0221989bdadeebb01d60524924a41ca99e168273"
    for name in ("edges2shoes", "sat2map", "map2sat", "facades_label2photo", "day2night"):
        assert entries[name].files["G"].urls[-1].endswith(f"berkeley.edu/pix2pix/models-pytorch/{name}.pth")
    names = [file.name for entry in entries.values() for file in entry.files.values()]
    assert len(set(names)) == len(names), "they lie in one folder"
    for entry in entries.values():
        if entry.predicts:
            from_dict(FAMILIES[entry.family][0], entry.options, entry.name)


@pytest.mark.parametrize("name", ["resnet50", "resnet101", "vgg16", "vgg19"])
def test_the_weights_that_torchvision_uses(name):
    (file,) = published.read_list()[name].files.values()
    (url,) = file.urls
    assert url == torchvision.models.get_model_weights(name).DEFAULT.url
    assert file.name == url.split("/")[-1] and file.sha256 == re.search(r"-(\w+)\.pth", url)[1]


@pytest.mark.parametrize("words", [[], ["--list"]])
def test_list(words, there, capsys):
    main(words)
    said = capsys.readouterr().out
    assert re.search(r"tiny \(seg\): a tiny network\n    ours\n    G: tiny.npz, hash recorded on first download", said)
    assert "other (other): no network; not verified" in said and there.requests == []
    main([*words, "other"] if words else ["--list", "other"])
    assert "tiny" not in capsys.readouterr().out


# scripts/download_weights.py


def test_download(there, cache, capsys):
    main(["tiny", "other"])
    folder = cache / "weights"
    assert sorted(path.name for path in folder.iterdir()) == ["a.txt", "hashes.json", "tiny-D.npz", "tiny.npz"]
    said = capsys.readouterr().out
    assert "next: python predict.py --weights tiny --input FOLDER --output PICTURES\n" in said
    files = f"{(folder / 'tiny.npz').as_posix()} {(folder / 'tiny-D.npz').as_posix()}"
    assert f"next: python scripts/import_weights.py {files} --output tiny.pt\n" in said
    main(["tiny"])
    assert len(there.requests) == 3


def test_another_folder(there, cache, tmp_path, capsys):
    main(["tiny", "--output", str(tmp_path / "here")])
    assert (tmp_path / "here" / "tiny.npz").is_file() and not (cache / "weights").exists()
    assert "predict.py" not in capsys.readouterr().out, "which does not look there"


def test_one_that_cannot_be_had_stops_no_other(there, cache):
    there.answers.pop("/G")
    there.put("/D", b"another")
    message = str(error_of("tiny", "other"))
    assert message.startswith("2 files:\n  tiny.npz: could not") and (cache / "weights" / "a.txt").is_file()
    assert "in a browser and put it at" in message and ", or name the file by --from-file" in message
    there.put("/D", D)
    assert "\n" not in str(error_of("tiny"))


def test_files_fetched_by_hand(there, cache, tmp_path):
    mine = tmp_path / "gen (1).npz"
    mine.write_bytes((tmp_path / "any.npz").read_bytes())
    main(["tiny", "--from-file", str(mine)])
    assert [request.path for request in there.requests] == ["/D"], "the rest is downloaded"
    (tmp_path / "wrong").write_bytes(b"wrong")
    assert "wrong: is not tiny-D.npz: another file" in str(error_of("tiny", "--from-file", mine, tmp_path / "wrong"))
    for words in (["tiny", "other", "--from-file", mine], ["other", "--from-file", mine, mine]):
        assert error_of(*words).code == 2
    with pytest.raises(SystemExit) as error:
        main(["--from-file", str(mine)])
    assert error.value.code == 2


def test_unknown_names(there):
    error = error_of("tinny")
    assert error.code == 2 and str(error) == "tinny: no such weights; did you mean tiny? (--list shows all)"
    assert "known: tiny, other" in str(error_of("xyz", "tiny")) and there.requests == []


# predict.py --weights NAME


def test_predict_downloads_and_imports_on_first_use(there, cache, tmp_path, monkeypatch, capsys):
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "a.png")
    words = ["--weights", "tiny", "--input", tmp_path / "a.png", "--output", tmp_path / "out", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["predict.py", *map(str, words)])
    predict.main()
    assert (tmp_path / "out" / "a.png").is_file() and [request.path for request in there.requests] == ["/G"]
    path = cache / "weights" / "tiny.pt"
    assert checkpoint.load(path, "seg")["options"]["sample"]["norm_stats"] == "batch", "an option of the list"
    made = path.stat().st_mtime_ns
    assert find("tiny") == path and path.stat().st_mtime_ns == made and len(there.requests) == 1
    os.utime(path, (1, 1))  # older than the importers
    assert find("tiny") == path and path.stat().st_mtime > 1
    os.utime(path, (1, 1))
    (cache / "weights" / "tiny.npz").write_bytes(b"PK damaged")
    assert find("tiny") == path and len(there.requests) == 2 and path.stat().st_mtime > 1


def test_a_path_wins(there, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tiny").write_bytes(b"")
    assert find("tiny") == Path("tiny") and there.requests == []


def test_neither_path_nor_name(there):
    for name, hint in {"tny": "did you mean tiny?", "other": "known: tiny", "a/b.pt": "known: tiny"}.items():
        with pytest.raises(UserError, match=f"no such checkpoint.*{re.escape(hint)}"):
            find(name)


def test_what_cannot_be_imported_leaves_nothing(there, cache):
    there.put("/G", b"PK\3\4")
    with pytest.raises(UserError, match="tiny.npz: "):
        find("tiny")
    assert not (cache / "weights" / "tiny.pt").exists()
