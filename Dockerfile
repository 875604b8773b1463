# syntax=docker/dockerfile:1
# saltext for CPUs, with what preset=embedded needs. Untried: written where no Docker runs; docs/install.md has the commands.
#
#   docker build -t saltext .
#   docker run --rm --shm-size=2g -v "$PWD/data:/workspace/data:ro" -v "$PWD/outputs:/workspace/outputs" saltext train
#
# --shm-size: loader processes pass batches in shared memory, of which docker run gives 64 MiB; with less than the batches need, no processes are started.
FROM python:3.12-slim-bookworm

# OpenMP's threads. Debian's own version: this line cannot break with a newer one.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*

# torch without CUDA libraries. Both from one index, since torchvision must match torch.
RUN pip install --no-cache-dir 'torch>=2.14,<2.15' 'torchvision>=0.29,<0.30' --index-url https://download.pytorch.org/whl/cpu

COPY pyproject.toml README.md LICENSE NOTICE.md /source/
COPY saltext /source/saltext
COPY hydra_plugins /source/hydra_plugins
COPY conf /source/conf
COPY experiments /source/experiments
RUN pip install --no-cache-dir '/source[embedded,demo]' && rm -rf /source

RUN useradd --create-home --uid 1000 saltext && mkdir /workspace && chown saltext /workspace
USER 1000
WORKDIR /workspace
EXPOSE 7860
ENTRYPOINT ["saltext"]
CMD ["--help"]
