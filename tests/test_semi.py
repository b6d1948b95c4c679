"""semi.method of train_seg.py: every method trains every network, resumes exactly, and refuses what does nothing."""

from pathlib import Path

import pytest
from runs import final, finite_run, log, same_training

import train_seg
from engine import checkpoint
from engine.errors import UserError
from models import build
from options.load import from_dict, load, to_dict
from options.seg import DEFAULT_FILE, SegOptions
from train_seg import train

TERMS = {
    "none": {"ce"},
    "adversarial": {"ce", "D", "adv", "semi_adv", "semi_st"},
    "fixmatch": {"ce", "semi_labeled", "semi_strong"},
    "unimatch": {"ce", "semi_labeled", "semi_strong", "semi_features"},
}
NETWORKS = {
    "unet": "model.norm=instance semi.teacher=ema",
    "dilated_fcn": "model.aspp_width=8 sample.norm_stats=batch",
    "resnet_deeplab": "model.encoder=resnet18 model.aspp_width=8 model.frozen_bn=true",
}


def opposed(method: str, words: str) -> list[str]:
    """The words, without those that only the consistency methods have."""
    return [word for word in words.split() if method in ("fixmatch", "unimatch") or not word.startswith("semi.")]


@pytest.mark.parametrize("generator", NETWORKS)
@pytest.mark.parametrize("method", ["none", "fixmatch", "unimatch"])
def test_every_method_trains_every_network(tiny, tmp_path, method, generator):
    words = ["run.steps=2", "loss.semi_start=1", "run.eval_every=2", f"model.generator={generator}"]
    train(tiny("run", *words, f"semi.method={method}", *opposed(method, f"semi.threshold=0 {NETWORKS[generator]}")))
    assert finite_run(tmp_path / "run", 2)
    first, second, *_ = log(tmp_path / "run")
    assert {"ce"} == first.keys() - {"step", "lr", "grad_G", "images_per_s"}, "before loss.semi_start"
    assert TERMS[method] == second.keys() - {"step", "lr", "grad_G", "images_per_s"}
    assert method == "none" or (second["semi_labeled"] == 1 and second["semi_strong"] > 0)


@pytest.mark.parametrize("method", TERMS)
def test_a_run_stopped_and_resumed_equals_one_that_never_stopped(tiny, tmp_path, method):
    words = [f"semi.method={method}", "loss.semi_start=1", *opposed(method, "semi.threshold=0.2 semi.teacher=ema")]
    train(tiny("whole", *words))
    resume_from(tmp_path / "whole" / "checkpoints" / "step_00000004.pt", tmp_path / "cut")
    train(tiny("cut", *words))
    assert same_training(final(tmp_path / "whole"), final(tmp_path / "cut"))
    consistency = [line["semi_strong"] for line in log(tmp_path / "whole") if "semi_strong" in line]
    assert len(consistency) == (5 if method in ("fixmatch", "unimatch") else 0) and all(x > 0 for x in consistency)


@pytest.mark.parametrize(("method", "gradient"), [("fixmatch", 5 + 3 * 2), ("unimatch", 5 + 3 * (0.5 * 2 + 0.5 * 7))])
def test_a_step_follows_the_weighted_sum(tiny, tmp_path, monkeypatch, method, gradient):
    """Terms of known slope in G's first weights: the cross-entropy's 5, the strong views' 2, the features' 7."""

    def first(G):
        return next(G.parameters()).sum()

    features = {"semi_features": 7} if method == "unimatch" else {}
    slopes = {"semi_strong": 2, **features}
    monkeypatch.setattr(train_seg, "labeled_losses", lambda G, *_: {"ce": 5 * first(G)})
    monkeypatch.setattr(train_seg, "consistency_losses", lambda G, *_: {k: s * first(G) for k, s in slopes.items()})
    opt = tiny("run", f"semi.method={method}", "semi.weight=3", "loss.semi_start=0", "run.steps=1")
    train(opt)
    weights = next(build.seg_generator(opt).parameters()).numel()
    assert log(tmp_path / "run")[0]["grad_G"] == pytest.approx(gradient * weights**0.5, rel=1e-3)  # four digits


def resume_from(path: Path, folder: Path) -> None:
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / path.name).write_bytes(path.read_bytes())


def test_a_run_without_unlabelled_pictures_says_so(tiny, tmp_path, capsys):
    train(tiny("run", "semi.method=unimatch", "data.unlabeled=none", "run.steps=1"))
    assert "no data.unlabeled: training on the labelled pictures alone" in capsys.readouterr().out
    train(tiny("plain", "semi.method=none", "data.unlabeled=none", "run.steps=1"))
    assert "no data.unlabeled" not in capsys.readouterr().out


def test_a_run_that_ends_before_the_unlabelled_pictures_says_so(tiny, capsys):
    train(tiny("late", "semi.method=fixmatch", "loss.semi_start=1", "run.steps=1"))
    assert "note: loss.semi_start=1: the 1 steps end before" in capsys.readouterr().out
    train(tiny("epochs", "semi.method=fixmatch", "loss.semi_start=3", "run.epochs=1"))  # 6 pictures, 2 a batch
    assert "note: loss.semi_start=3: the 3 steps end before" in capsys.readouterr().out
    train(tiny("early", "semi.method=fixmatch", "loss.semi_start=0", "run.steps=1"))
    assert "semi_start" not in capsys.readouterr().out


def test_unlabelled_pictures_that_teach_nothing_are_not_decoded(tiny, capsys):
    for method in ("none", "fixmatch"):
        train(tiny(method, f"semi.method={method}", "run.steps=1", "data.cache=ram"))
        assert ("data.cache: 4 unlabelled pictures" in capsys.readouterr().out) == (method == "fixmatch")


def test_a_resumed_run_may_change_its_method(tiny, tmp_path, capsys):
    train(tiny("run", "semi.method=none", "run.steps=2"))
    train(tiny("run", "semi.method=adversarial", "run.steps=3"))
    assert final(tmp_path / "run")["step"] == 3
    assert "semi.method none -> adversarial" in capsys.readouterr().out


def test_pseudo_labels_are_the_averaged_networks(tiny, tmp_path):
    for name in ("student", "ema"):
        train(tiny(name, "semi.method=fixmatch", f"semi.teacher={name}", "semi.threshold=0.25", "loss.semi_start=3"))
    assert not same_training(final(tmp_path / "student"), final(tmp_path / "ema"))


# ---- options


def test_options_saved_before_semi_methods_mean_the_adversarial_one(tiny):
    old = to_dict(tiny("run", "loss.semi_st=0.3"))
    del old["semi"]
    opt = from_dict(SegOptions, old, "a checkpoint")
    assert opt.semi.method == "adversarial" and opt.loss.semi_st == 0.3 and opt.teaches_unlabeled


@pytest.mark.parametrize("file", sorted(DEFAULT_FILE.parent.glob("seg*.yaml")), ids=lambda path: path.stem)
@pytest.mark.parametrize("method", TERMS)
def test_every_experiment_takes_every_method(file, method):
    words = ["data.batch=2", "ema.half_life=9", f"semi.method={method}"]
    assert load(SegOptions, [str(file), *words], DEFAULT_FILE).semi.method == method


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("semi.method=none loss.semi_st=0.2", "loss.semi_st=0.2: has no effect with semi.method=none; leave it out"),
        ("semi.method=unimatch loss.adv=1", "loss.adv=1.0: has no effect with semi.method=unimatch; leave it out"),
        ("semi.threshold=0.9", "semi.threshold=0.9: has no effect with semi.method=adversarial; leave it out"),
        ("semi.method=none semi.teacher=ema", "semi.teacher=ema: has no effect with semi.method=none; leave it out"),
        ("semi.method=fixmatch data.batch=3", "data.batch=3: semi.method=fixmatch mixes .* in pairs; use an even"),
        ("semi.method=fixmatch semi.teacher=ema ema.half_life=0", "semi.teacher=ema: ema.half_life=0 averages nothing"),
    ],
)
def test_what_has_no_effect_is_refused(words, line):
    with pytest.raises(UserError, match=line) as caught:
        load(SegOptions, words.split(), DEFAULT_FILE)
    assert caught.value.code == 2 and "\n" not in str(caught.value)


def test_weights_of_zero_agree_with_every_method():
    words = ["loss.adv=0", "loss.semi_adv=0", "loss.semi_st=0", "semi.method=unimatch"]
    assert load(SegOptions, words, DEFAULT_FILE).semi.consistency


def test_the_discriminator_is_left_as_it_was(tiny, tmp_path):
    train(tiny("run", "semi.method=unimatch", "run.save_every=1", "run.keep=9", "run.steps=2"))
    first, second = (checkpoint.load(path)["D"] for path in checkpoint.steps(tmp_path / "run"))
    assert all((first[key] == second[key]).all() for key in first)
