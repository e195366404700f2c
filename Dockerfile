# One image for every role; the command says which. Not root, nothing of the system writable, no compiler inside.
FROM python:3.13-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/notifier
COPY locks/runtime.txt locks/runtime.txt
RUN /opt/notifier/bin/pip install --no-cache-dir --require-hashes -r locks/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY notifier notifier
COPY notifier_cli notifier_cli
COPY producers producers
COPY filters filters
COPY consumers consumers
COPY streams streams
COPY control_api control_api
RUN /opt/notifier/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.13-slim-bookworm
# bubblewrap is the sandbox's first choice; where a container may not use it, Landlock is next.
RUN apt-get update \
    && apt-get install -y --no-install-recommends bubblewrap \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home --home-dir /var/lib/notifier notifier
COPY --from=build /opt/notifier /opt/notifier
ENV PATH=/opt/notifier/bin:$PATH NOTIFIER_DATA_DIR=/var/lib/notifier NOTIFIER_CACHE_DIR=/tmp/notifier
USER notifier
WORKDIR /var/lib/notifier
ENTRYPOINT ["notifier"]
CMD ["--help"]
