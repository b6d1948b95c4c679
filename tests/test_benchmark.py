"""scripts/benchmark.py: a step of the dcgan family, ours and the plain loop's."""

import json
from dataclasses import replace

import pytest

from scripts import benchmark


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """The benchmark's own options with small networks on few pictures, drawn below tmp_path, and no warm-up."""
    plain = benchmark.options

    def options(family, *args):
        opt = plain(family, *args)
        assert (opt.data.batch, opt.model.g_width, opt.model.n_extra_g) == (64, 64, 1), "what is timed is animeGAN's"
        data, model = replace(opt.data, batch=4, drawn_train=4), replace(opt.model, g_width=4, d_width=4)
        return replace(opt, data=data, model=model)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(benchmark, "WARM_UP", 0)
    monkeypatch.setattr(benchmark, "options", options)


@pytest.mark.parametrize("variant", ["plain", "ours fp32", "ours bf16"])
def test_a_step_of_dcgan_is_timed(tiny, capsys, variant):
    benchmark.child("dcgan", variant, 2, None)
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(found["seconds"]) == 2 and all(0 < seconds < 60 for seconds in found["seconds"])
