"""engine/folder.py: reading, predicting and writing at once, without a trace in the outputs."""

import errno
import os
import re
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.images import read_picture
from data.picture_io import to_picture
from engine import network as network_module
from engine.errors import UserError
from engine.folder import find_jobs, predict_folder
from engine.network import Network
from engine.threads import Threads, delayed


class Negatives:
    """A family whose network turns pictures into their negatives: the same in every batch, to the bit."""

    extra_suffixes = {"_copy.png": "copy"}
    prepare, dropout, legend, arguments, by_arguments = None, False, (), (), ()

    def __init__(self):
        self.lock, self.inside, self.most = threading.Lock(), 0, 0

    def count(self, change: int) -> None:
        with self.lock:
            self.inside += change
            self.most = max(self.most, self.inside)

    def read(self, path: Path) -> np.ndarray:
        picture = read_picture(path)
        self.count(1)
        return picture

    def rejects(self, picture: np.ndarray, maps: torch.Tensor) -> str | None:
        if (picture != picture[..., :1]).any():
            return None
        self.count(-1)
        return "grey"

    def outputs(self, picture: np.ndarray, maps: torch.Tensor) -> dict[str, Image.Image]:
        self.count(-1)
        return {"": Image.fromarray(to_picture(maps)), "_copy.png": Image.fromarray(picture)}


def negative(x: torch.Tensor, names: list[str]) -> torch.Tensor:
    assert len(x) == len(names)
    return 1 - x.float() / 127.5


def make_network(batch: int, forward=negative, **words) -> Network:
    return Network(forward, (16, 16), "stretch", batch, torch.device("cpu"), **words)


@pytest.fixture
def source(tmp_path) -> Path:
    """40 pictures: some of other sizes, one grey, two broken."""
    folder, rng = tmp_path / "in", np.random.default_rng(0)
    folder.mkdir()
    for i in range(40):
        shape = (16, 16, 3) if i % 7 else (20, 24, 3)
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(folder / f"{i:02}.png")
    Image.new("RGB", (16, 16), "grey").save(folder / "11.png")
    (folder / "05.png").write_text("no picture")
    (folder / "23.png").write_bytes(b"")
    return folder


def predict(source: Path, output: Path, workers: int, network: Network, pictures: Negatives | None = None):
    pictures = pictures or Negatives()
    return predict_folder(find_jobs(source, output, pictures.extra_suffixes), pictures, network, False, workers)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("size", [(16, 16), "native"])
def test_outputs_and_report_depend_neither_on_workers_nor_on_the_batch(source, tmp_path, capsys, size):
    found = []
    for workers, batch in ((0, 1), (0, 3), (1, 4), (4, 3), (4, 64)):
        output = tmp_path / f"out{workers}_{batch}"
        network = make_network(batch)
        network.size = size
        report = predict(source, output, workers, network)
        said = capsys.readouterr()
        assert re.findall(r"error: .*/(\d+)\.png", said.err) == ["05", "23"], "once each, in their order"
        assert said.out.count("left out: grey") == 1 and report.rejected == {"grey": 1}
        written = sorted(job.name for job in report.written)
        found.append((contents(output), report.failed, written))
    assert len(found[0][0]) == 2 * 37 and len(found[0][2]) == 37
    assert all(one == found[0] for one in found[1:])
    for name in found[0][0]:
        assert Image.open(output / name).size == Image.open(source / name.replace("_copy", "")).size
    negative_of = np.asarray(Image.open(tmp_path / "out4_3" / "01.png")).astype(int)
    np.testing.assert_array_equal(negative_of, 255 - np.asarray(Image.open(source / "01.png")).astype(int))


@pytest.mark.parametrize("slow", ["reading", "network", "writing"])
def test_few_pictures_are_in_memory_at_once(source, tmp_path, slow):
    class Slow(Negatives):
        def read(self, path):
            time.sleep(0.002 * (slow == "reading"))
            return super().read(path)

        def outputs(self, picture, maps):
            time.sleep(0.005 * (slow == "writing"))
            return super().outputs(picture, maps)

    def forward(x, names):
        time.sleep(0.01 * (slow == "network"))
        return negative(x, names)

    for i in range(100):
        sides = (8 + i // 10, 8 + i % 10, 3)  # all differ, and wait for their like
        Image.fromarray(np.full(sides, (i + 1, 0, 0), np.uint8)).save(source / f"small{i}.png")
    pictures, workers, batch = Slow(), 3, 2
    network = make_network(batch, forward)
    network.size = "native"
    report = predict(source, tmp_path / "out", workers, network, pictures)
    assert len(report.written) == 137
    assert batch < pictures.most <= 2 * workers + 8 * batch


def fail_to_save(monkeypatch, name: str) -> None:
    save = Image.Image.save

    def failing(self, file, *words, **more):
        if Path(file).name.startswith(name):
            Path(file).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(self, file, *words, **more)

    monkeypatch.setattr(Image.Image, "save", failing)


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_a_full_disk_ends_it_in_one_line(source, tmp_path, monkeypatch, workers):
    fail_to_save(monkeypatch, "08_copy")
    with pytest.raises(UserError, match=r"08_copy.png: cannot be written \(No space left on device\)") as caught:
        predict(source, tmp_path / "out", workers, make_network(2))
    assert "\n" not in str(caught.value)
    left = contents(tmp_path / "out")
    assert "08_copy.png" not in left and not [name for name in left if name.endswith(".part")]
    assert len(left) < 2 * 37, "the rest is not worked through"


@pytest.mark.parametrize("workers", [0, 4])
def test_ctrl_c_leaves_whole_files_only(source, tmp_path, workers, request):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    calls = []

    def forward(x, names):
        calls.append(names)
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return negative(x, names)

    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        predict(source, tmp_path / "out", workers, make_network(4, forward))
    left = list((tmp_path / "out").iterdir())
    for path in left:
        assert path.suffix == ".png"
        Image.open(path).load()
    assert len(left) < 2 * 37 and len(calls) == 4 and threading.active_count() == threads


def test_a_mistake_in_a_thread_is_not_swallowed(source, tmp_path):
    class Broken(Negatives):
        def read(self, path):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        predict(source, tmp_path / "out", 4, make_network(4), Broken())


def test_full_batches_are_filled_up(source, tmp_path):
    seen = []

    def forward(x, names):
        seen.append(len(x))
        return negative(x, names)

    predict(source, tmp_path / "full", 2, make_network(16, forward, full=True))
    predict(source, tmp_path / "own", 2, make_network(16))
    assert seen == [16] * 3 and contents(tmp_path / "full") == contents(tmp_path / "own")


@pytest.mark.parametrize("fit", ["stretch", "tile"])
def test_with_a_batch_ahead_the_next_is_begun_before_one_is_waited_for(source, tmp_path, monkeypatch, fit):
    events = []

    def forward(x, names):
        events.append("begin")
        return negative(x, names)

    def to_host(x):
        def wait():
            events.append("wait")
            return x

        return wait

    outputs = []
    for ahead in (0, 1):
        with monkeypatch.context() as patch:
            patch.setattr(network_module, "to_host", to_host)
            network = make_network(1, forward)
            network.fit, network.size, network.ahead = fit, (12, 12), ahead
            events.clear()
            predict(source, tmp_path / f"{fit}{ahead}", 2, network)
        outputs.append(contents(tmp_path / f"{fit}{ahead}"))
        assert events[:4] == (["begin", "begin", "wait", "begin"] if ahead else ["begin", "wait"] * 2)
        assert events.count("begin") == events.count("wait")
    assert outputs[0] == outputs[1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_gives_the_same_files(source, tmp_path):
    network = Network(negative, (16, 16), "stretch", 4, torch.device("cuda"))
    assert network.ahead == 1
    predict(source, tmp_path / "cuda", 4, network)
    predict(source, tmp_path / "cpu", 4, make_network(4))
    assert contents(tmp_path / "cuda") == contents(tmp_path / "cpu")


# ---- engine/threads.py


@pytest.mark.parametrize("workers", [0, 1, 5])
def test_threads_keep_the_order_and_the_window(workers):
    taken, most, lock, begun = 0, 0, threading.Lock(), 0

    def work(i):
        nonlocal begun, most
        with lock:
            begun += 1
            most = max(most, begun - taken)
        time.sleep(0.003 * (i % 3 == 0))
        return i * i

    with Threads(workers) as threads:
        for i, square in enumerate(threads.in_order(work, iter(range(60)), window=7)):
            assert square == i * i
            taken += 1
    assert taken == 60 and most <= 7


def test_threads_leave_out_what_is_not_begun_and_compute_alone():
    started = []

    def work(i):
        started.append(torch.get_num_threads())
        time.sleep(0.01)
        if i == 3:
            raise ValueError(i)

    with pytest.raises(ValueError, match="3"), Threads(2) as threads:
        list(threads.in_order(work, range(1000), window=200))
    assert len(started) < 30 and set(started) == {1}


def test_delayed_hands_out_the_same_items_later():
    taken = []
    source = (taken.append(i) or i for i in range(5))
    assert [(item, len(taken)) for item in delayed(source, 2)] == [(0, 3), (1, 4), (2, 5), (3, 5), (4, 5)]
    assert list(delayed([], 2)) == [] and list(delayed("abc", 0)) == list("abc")
