# docker build -t heat-observer .
#
# The build stage runs on the builder's own platform and cross-compiles. The version in the binary comes from
# .git; build with --build-arg GOFLAGS=-buildvcs=false from a source tree whose .git cannot be read (a worktree).

FROM --platform=$BUILDPLATFORM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG GOFLAGS
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags='-s -w' -o /processor ./cmd/processor

# static: no shell, no libc, but CA certificates for rediss:// and an account that is not root.
FROM gcr.io/distroless/static-debian12:nonroot
LABEL org.opencontainers.image.title="heat observer" \
      org.opencontainers.image.description="Observes whether the heat decision of a plan was there when the plan was published, and whether it came in time" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.documentation="README.md"
COPY --from=build /processor /processor
# All of the container's interfaces: which of them is reachable is decided where its ports are published.
ENV P28_HTTP_ADDR=0.0.0.0:8043
EXPOSE 8043
# 65532 is "nonroot"; a number lets Kubernetes check runAsNonRoot.
USER 65532:65532
STOPSIGNAL SIGTERM
# The binary asks itself: there is no shell and no curl in here. Only run and demo listen; any other command needs
# `docker run --no-healthcheck`, or it is called unhealthy.
HEALTHCHECK --interval=5s --timeout=6s --start-period=10s --retries=3 CMD ["/processor", "healthcheck"]
ENTRYPOINT ["/processor"]
CMD ["run"]
