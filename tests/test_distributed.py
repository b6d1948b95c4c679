"""Two processes train as one does; they begin, stop and fail together."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import TINY, TINY_DCGAN, TINY_PIX2PIX, TINY_SPADE
from processes import Case, by_two, environment, free_port, in_double, trained
from runs import final, log
from torch import nn

from data.loader import Order
from engine import checkpoint
from engine.chance import SharedChance, whole_like
from engine.sync_norm import SyncBatchNorm2d, synchronise
from models.layers import norm_layer, predicting
from options import dcgan, pix2pix, seg, spade
from options.load import load

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
ROOT = Path(__file__).parents[1]
STEPS = "run.steps=5 run.save_every=1 run.keep=9 run.sample_every=4 data.batch=4 ema.half_life=20"
EXACT = {  # what is lost in rounding is to be small beside Adam's 1e-8: no huge terms, no norms of constant maps
    "seg": "model.norm=instance model.dropout=0 loss.semi_start=2 loss.semi_threshold=0.5 loss.semi_st=1 loss.dice=0.5 "
    "loss.focal=0.5 loss.class_weights=1,2,3,4,5 data.augment=mirror,scale,crop",
    "pix2pix": "model.norm=instance model.d_norm=instance model.dropout=0 model.z=3 loss.mode_seeking=0.001 "
    "loss.gan=wgan-gp loss.feature_matching=1 loss.l1=10 optim.d_steps=2 run.eval_every=4 "
    "loss.diffaugment=color,translation,cutout",
    "pix2pix R1": "model.norm=instance model.d_norm=instance model.dropout=0 loss.r1=1 loss.penalty_every=2",
    "spade": "model.norm=instance model.d_norm=instance model.norm_eps=0.1 model.style=4 loss.diversity=1 "
    "loss.penalty=r1 loss.penalty_every=2 loss.penalty_on=real,fake loss.diffaugment=color,translation,cutout",
    "spade OASIS": "model.discriminator=oasis model.norm=instance model.d_norm=none model.norm_eps=0.1 "
    "loss.penalty=none loss.feature_matching=0 loss.diffaugment=color,cutout",
    "dcgan": "model.g_norm=instance model.d_norm=instance loss.gan=relativistic loss.r1=1 loss.r2=1 "
    "loss.penalty_every=2 loss.label_flip=0.3 loss.instance_noise=0.5 loss.diffaugment=color,translation,cutout "
    "data.labels=folders",
}
SEMI = {  # every term from a start on, with many pseudo-labels
    f"seg {method}": "model.norm=instance model.dropout=0 loss.semi_start=1 semi.threshold=0.22 "
    f"data.augment=mirror,scale semi.method={method} semi.teacher={teacher}"
    for method, teacher in (("fixmatch", "student"), ("unimatch", "ema"))
}
EXACT |= SEMI
ENDLESS = "run.steps=1000000 run.save_every=1000000 data.workers=1 run.log_every=1 run.eval_every=0".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def words_of(drawn, edge_pairs, drawn_spade, faces) -> dict[str, list[str]]:
    """The words of a tiny run of each family."""
    return {
        "seg": [*TINY, f"data.root={drawn}", f"data.unlabeled={drawn / 'unlabeled'}"],
        "pix2pix": [*TINY_PIX2PIX, f"data.root={edge_pairs}"],
        "spade": [*TINY_SPADE, f"data.root={drawn_spade}"],
        "dcgan": [*TINY_DCGAN, f"data.root={faces}"],
    }


@pytest.fixture(scope="module")
def made(words_of, tmp_path_factory):
    """(what both processes have at the end of each run, what one process has, the folder of all runs)."""
    folder, patch = tmp_path_factory.mktemp("two"), pytest.MonkeyPatch()
    classes = {"seg": seg.SegOptions, "pix2pix": pix2pix.Pix2PixOptions}
    classes |= {"spade": spade.SpadeOptions, "dcgan": dcgan.DcganOptions}
    files = {module.DEFAULT_FILE.stem: module.DEFAULT_FILE for module in (seg, pix2pix, spade, dcgan)}

    def case(name: str, family: str, *words: str) -> Case:
        words = [*words_of[family], *STEPS.split(), *words, f"run.dir={folder / name}"]
        return Case(family, load(classes[family], words, files[family]))

    def alone(*words: str) -> dict:
        with patch.context() as inner:
            return trained(case(*words), inner.setattr)

    patch.setenv("ATELIER_CACHE", str(folder / "cache"))
    in_double(patch.setattr)
    try:
        one = {name: alone(f"one {name}", name.split()[0], *words.split()) for name, words in EXACT.items()}
        half_way(folder / "one pix2pix", folder / "1 to 2")
        cases = {name: case(name, name.split()[0], *words.split()) for name, words in EXACT.items()}
        cases["1 to 2"] = case("1 to 2", "pix2pix", *EXACT["pix2pix"].split())
        cases["batch norm"] = case("batch norm", "pix2pix", "model.dropout=0.5")
        cases["odd"] = case("odd", "pix2pix", "data.batch=3")
        cases["odd pairs"] = case("odd pairs", "seg", "data.batch=6", "semi.method=fixmatch")
        cases["killed"] = case("killed", "pix2pix", *ENDLESS)._replace(killed_at=2)
        two = dict(zip(cases, by_two(list(cases.values()), folder), strict=True))
        half_way(folder / "pix2pix", folder / "2 to 1")
        one["2 to 1"] = alone("2 to 1", "pix2pix", *EXACT["pix2pix"].split())
    finally:
        torch.set_default_dtype(torch.float32)
        patch.undo()
    return two, one, folder


def half_way(whole: Path, folder: Path) -> None:
    """A copy of a run folder as it was after step 3."""
    shutil.copytree(whole, folder)
    for path in checkpoint.steps(folder)[3:]:
        path.unlink()


def assert_same(a: dict, b: dict, within: float) -> None:
    for network in ("generator", "discriminator"):
        assert a[network].keys() == b[network].keys() and a[network]
        for key, value in a[network].items():
            torch.testing.assert_close(value, b[network][key], rtol=0, atol=within, msg=lambda m, k=key: f"{k}: {m}")


@pytest.mark.parametrize("name", EXACT)
def test_two_processes_with_half_the_batch_train_as_one(made, name):
    two, one, folder = made
    first, second = two[name]
    assert_same(first, second, 0)
    assert_same(first, one[name], 1e-8)
    for a, b in zip(log(folder / name), log(folder / f"one {name}"), strict=True):
        assert {**a, "images_per_s": 0} == pytest.approx({**b, "images_per_s": 0}, rel=1e-6)


@pytest.mark.parametrize("name", SEMI)
def test_consistency_had_pseudo_labels_to_agree_on(made, name):
    assert [line.get("semi_strong", 0) > 0 for line in log(made[2] / name)] == [False, True, True, True, True]


def test_resume_with_another_number_of_processes(made):
    two, one, _ = made
    assert_same(two["1 to 2"][0], one["pix2pix"], 1e-8)
    assert_same(one["2 to 1"], one["pix2pix"], 1e-8)


def test_with_batch_norm_the_parameters_are_equal_and_the_statistics_the_firsts(made):
    two, _, folder = made
    first, second = two["batch norm"]
    for network, name in (("generator", "G"), ("discriminator", "D")):
        own = [key for key in first[network] if "running_" in key]
        assert own and any(not torch.equal(first[network][key], second[network][key]) for key in own)
        assert all(torch.equal(first[network][k], second[network][k]) for k in first[network] if k not in own)
        saved = final(folder / "batch norm")[name]
        assert all(torch.equal(saved[key], value) for key, value in first[network].items())


def test_only_the_first_process_writes(made):
    *_, folder = made
    assert [line["step"] for line in log(folder / "seg")] == [1, 2, 3, 4, 5]
    assert len(list((folder / "seg" / "tensorboard").iterdir())) == 1
    assert sum("val_l1" in line for line in log(folder / "pix2pix")) == 2
    assert [path.name for path in checkpoint.steps(folder / "seg")] == [f"step_{k:08d}.pt" for k in range(1, 6)]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("odd", "data.batch=3: 2 processes cannot share it equally: use a multiple of 2, or other processes"),
        ("odd pairs", "data.batch=6: 2 processes cannot share it equally in pairs of pictures: use a multiple of 4"),
    ],
)
def test_a_batch_that_cannot_be_shared(made, name, line):
    first, second = made[0][name]
    assert first["error"].startswith(f"UserError: {line}") and second["error"] == "SystemExit: 2"


# ---- processes that end early


def wait_for(what, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "too late"
        time.sleep(0.1)


def steps_done(folder: Path) -> int:
    return len((folder / "log.jsonl").read_text().splitlines()) if (folder / "log.jsonl").exists() else 0


def test_when_one_is_killed_the_other_ends_with_a_word_and_does_not_save(made):
    two, _, folder = made
    first, second = two["killed"]
    assert second is None, "it ended without a word"
    assert first["error"].startswith("UserError: process 0: another process of this training has ended")
    assert "\n" not in first["error"]
    assert log(folder / "killed")[-1]["step"] == 2 and not checkpoint.steps(folder / "killed")


BUSY = """
import os, sys, time
from engine import distributed
distributed.GRACE = 1
import torch
distributed.join(torch.device("cpu"))
lifeline = distributed.begin(0, [])
if distributed.rank() == 1:
    os._exit(0)
time.sleep(60)
"""


def test_one_that_is_busy_with_something_else_ends_too(tmp_path):
    port = free_port()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", BUSY], env=os.environ | environment(rank, port), stderr=subprocess.PIPE, cwd=ROOT
        )
        for rank in range(2)
    ]
    try:
        _, errors = processes[0].communicate(timeout=30)
    finally:
        for process in processes:
            process.kill()
    assert processes[0].returncode == 1
    assert errors.decode().startswith("error: process 0: another process of this training has ended")


def test_a_signal_to_one_stops_all_of_torchruns_at_the_same_step(words_of, tmp_path):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    with (tmp_path / "out").open("w") as out:
        started = subprocess.Popen(
            [*launcher, str(ROOT / "train_pix2pix.py"), *words_of["pix2pix"], *ENDLESS, f"run.dir={tmp_path}"],
            env=os.environ | dict(OMP_NUM_THREADS="1"),
            stdout=out,
            stderr=out,
        )
    try:
        wait_for(lambda: steps_done(tmp_path) > 2)
        os.kill(process_with(started.pid, "RANK=1"), signal.SIGINT)
        started.wait(30)
    finally:
        started.kill()
    said = (tmp_path / "out").read_text()
    step = final(tmp_path)["step"]
    assert said.count("stopped by SIGINT") == 1 and f"stopped by SIGINT at step {step};" in said
    assert said.count("exitcode  : 130") == 2 and len(checkpoint.steps(tmp_path)) == 1
    assert log(tmp_path)[-1]["step"] == step


def process_with(parent: int, variable: str) -> int:
    """The child whose environment holds it."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    if not children.exists():
        pytest.skip("no /proc to find the processes in")
    own = [
        pid for pid in children.read_text().split() if variable in Path(f"/proc/{pid}/environ").read_text().split("\0")
    ]
    return int(own[0])


# ---- the parts


def test_parts_of_an_order_are_the_order():
    whole = iter(Order(10, 4, (0,), 3))
    parts = [iter(Order(10, 4, (0,), 3, share=lambda keys, r=r: keys[2 * r : 2 * r + 2])) for r in range(2)]
    for _ in range(5):
        assert next(whole) == [key for part in parts for key in next(part)]


def test_what_a_process_draws_by_itself_leaves_the_shared_chance_as_it_is():
    torch.manual_seed(3)
    expected = [torch.rand(2, 3), torch.rand(2, 3)]
    torch.manual_seed(3)
    shared = SharedChance(torch.device("cpu"))
    torch.manual_seed(4)
    found = [shared.draw(torch.rand_like, torch.zeros(2, 3))]
    torch.rand(7)
    found.append(shared.draw(torch.rand_like, torch.zeros(2, 3)))
    assert all(map(torch.equal, expected, found))
    torch.manual_seed(4)
    torch.rand(7)
    after = torch.rand(1)
    torch.manual_seed(4)
    shared.draw(torch.rand_like, torch.zeros(2, 3))
    torch.rand(7)
    assert torch.equal(after, torch.rand(1)), "and the shared chance its own"


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_stand_in_of_a_whole_batch_has_its_layout(layout):
    x = torch.zeros(2, 3, 4, 5, dtype=torch.bfloat16).contiguous(memory_format=layout)
    whole = whole_like(x)
    assert (whole.shape, whole.dtype, whole.stride()) == (x.shape, x.dtype, x.stride())


def test_batch_norms_are_synchronised_in_place():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), norm_layer("batch", 4), norm_layer("instance", 4))
    frozen = norm_layer("batch", 4).eval()
    network.append(frozen)
    names, parameters = list(network.state_dict()), list(network.parameters())
    x = torch.randn(2, 3, 5, 5)
    with torch.no_grad(), predicting(network, "batch"):
        expected = network(x)
    frozen.eval()
    synchronise(network)
    assert [isinstance(layer, SyncBatchNorm2d) for layer in network] == [False, True, False, False]
    assert list(network.state_dict()) == names and all(map(lambda a, b: a is b, parameters, network.parameters()))
    with torch.no_grad(), predicting(network, "batch"):
        assert torch.equal(network(x), expected), "looked at by one process alone"
