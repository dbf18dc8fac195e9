# docker build --tag mmie .                           computes on the CPU
# docker build --tag mmie --build-arg DEVICE=cu128 .  on NVIDIA GPUs; DEVICE is a backend of torch as uv names it
# docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/work" --volume mmie-hub:/cache mmie fit --config demo_hvpnet
# On GPUs add --gpus all. Workers of data loading need --ipc=host or --shm-size=2g.
ARG PYTHON=3.12
FROM python:${PYTHON}-slim AS build
ARG DEVICE=cpu
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY configs configs
COPY mmie mmie
RUN python -m venv /opt/mmie \
    && pip install --no-cache-dir uv \
    && uv pip install --no-cache --python /opt/mmie/bin/python --torch-backend "${DEVICE}" \
        '.[graph,ground,onnx,report,serve]'

FROM python:${PYTHON}-slim
COPY --from=build /opt/mmie /opt/mmie
ENV PATH=/opt/mmie/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOME=/home/mmie \
    HF_HOME=/cache
# Any --user may write to both folders: caches of libraries, and models of the hub.
RUN useradd --create-home mmie \
    && mkdir /cache \
    && chmod 1777 /home/mmie /cache
USER mmie
WORKDIR /work
VOLUME /cache
EXPOSE 8000
ENTRYPOINT ["mmie"]
CMD ["--help"]
