# The image of server and client: the program, the libraries that it names, certificate authorities and a user. `make docker`
# builds it; compose.yaml and contrib/kubernetes run it.

# Another source of the same images, or a mirror: --build-arg RUST_IMAGE=...
ARG RUST_IMAGE=rust:1.95-bookworm

FROM ${RUST_IMAGE} AS chef
ARG CARGO_CHEF=0.1.78
RUN cargo install --locked --version "${CARGO_CHEF}" cargo-chef
WORKDIR /src

# What the dependencies are, and nothing of the code: the layer below is built anew only when they change.
FROM chef AS plan
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS build
COPY --from=plan /src/recipe.json .
COPY .cargo .cargo
RUN RUSTFLAGS="--remap-path-prefix=${CARGO_HOME}=cargo --remap-path-prefix=/src=." \
    cargo chef cook --locked --release --package crm-relay --recipe-path recipe.json
COPY . .
RUN make release && scripts/image-root target/release/crm-relay /image

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="crm-relay" \
      org.opencontainers.image.description="Webhooks, delivered behind the firewall, none lost" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /image /
COPY --from=build --chown=65532:65532 --chmod=0700 /image/data /data
USER 65532:65532
# The server makes the directory below the volume itself, so that it is its own also where the volume is open to a group.
ENV DATA_DIR=/data/relay
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["/bin/crm-relay", "health"]
ENTRYPOINT ["/bin/crm-relay"]
CMD ["server"]
