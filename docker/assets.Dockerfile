# A small image for CI: `check` and `upload` on PATH, the same program as `gristmill asset …`, and as a resource type of
# Concourse. It needs no git. Build it at the repository's root:
#
#   docker build -f docker/assets.Dockerfile -t gristmill-assets .
FROM rust:1.95-slim-trixie AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p gristmill

FROM debian:trixie-slim
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/gristmill /usr/local/bin/gristmill
RUN ln -s gristmill /usr/local/bin/check \
    && ln -s gristmill /usr/local/bin/upload \
    && mkdir -p /opt/resource \
    && ln -s /usr/local/bin/gristmill /opt/resource/check \
    && ln -s /usr/local/bin/gristmill /opt/resource/in \
    && ln -s /usr/local/bin/gristmill /opt/resource/out
CMD ["sh"]
