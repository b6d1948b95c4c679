# make demo: install, draw sample data, train, predict a folder, write a gallery.   make test: install, run all tests.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python

# Threads that wait for each other sleep instead of spinning: a few percent slower on an idle machine, several times
# faster on one that is shared.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test test-more lint bench clean

$(VENV)/.installed: requirements.txt requirements-extra.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --requirement requirements-dev.txt
	touch $@

demo: $(VENV)/.installed
	$(PY) train_seg.py options/seg_demo.yaml
	$(PY) scripts/make_sample_data.py --output datasets/demo-unseen --labeled 0 --unlabeled 24 --val 0 --size 128 --seed 1
	$(PY) predict.py --weights runs/demo --input datasets/demo-unseen/unlabeled --output demo --overlay --gallery --grid --overwrite
	@echo "Open demo/index.html (predictions) and runs/demo/samples/index.html (training)."

test: $(VENV)/.installed
	$(PY) -m pytest -n auto --dist loadfile

test-more: $(VENV)/.installed
	ATELIER_MORE=120 $(PY) -m pytest -n auto --dist loadfile tests -k test_many_combinations

lint: $(VENV)/.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

bench: $(VENV)/.installed
	$(PY) scripts/benchmark.py

clean:
	rm -rf $(VENV) demo
