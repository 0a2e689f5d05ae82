# The suite in a container, from the same locks as everywhere.
#
#   docker build --tag kpo-suite .          # --build-arg LOCK=gpu where experiments use GPUs
#   docker run --rm --volume "$PWD/results:/suite/results" kpo-suite make table1      # --gpus all
#   docker run --rm kpo-suite make test
FROM debian:bookworm-slim
ARG LOCK=cpu
WORKDIR /suite

# First what the environment is made from, so that a change of the code does not make it again.
COPY Makefile .
COPY workflow/setup.sh workflow/setup.sh
COPY workflow/lock workflow/lock
COPY workflow/containers workflow/containers
RUN workflow/containers/install.sh "$LOCK"

COPY . .
ENV PATH=/suite/.venv/bin:$PATH
CMD ["make", "table1"]
