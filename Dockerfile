# docker build --tag mmie .                           computes on the CPU
# docker build --tag mmie --build-arg DEVICE=cu128 .  on NVIDIA GPUs; DEVICE is a backend of torch as uv names it
# docker run --rm --volume "$PWD:/work" mmie fit --config demo_hvpnet   (with --gpus all on GPUs)
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
    PYTHONUNBUFFERED=1
RUN useradd --create-home mmie
USER mmie
WORKDIR /work
ENTRYPOINT ["mmie"]
CMD ["--help"]
