# Two stages: the first installs and compiles, the second has neither pip's cache nor a build tool.
# Run: docker run -i --rm --read-only --cap-drop ALL -v r4-state:/state IMAGE serve --local
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md ./
COPY r4_mcp ./r4_mcp
RUN python -m venv --without-pip /opt/r4-mcp
RUN python -m pip --python /opt/r4-mcp/bin/python install --no-cache-dir --no-compile .
RUN /opt/r4-mcp/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/r4-mcp/lib

FROM python:3.13-slim
# The base image has no bytecode of the standard library, and a read-only root can't keep any: each start would compile it (1 s).
# A source that can't change is never compared, hence unchecked-hash.
RUN python -m compileall -q -x '/(test|tests|idle_test|site-packages)/' --invalidation-mode unchecked-hash /usr/local/lib/python3.13
LABEL org.opencontainers.image.title="r4-mcp" \
      org.opencontainers.image.description="MCP server that gives AI agents the use of an R4 zero-trust vault" \
      org.opencontainers.image.licenses="Apache-2.0" \
      io.modelcontextprotocol.server.name="dev.r4/r4-mcp"
# A fixed id, so that a volume's owner can be set from outside. A new volume takes owner and mode of /state.
RUN groupadd --gid 10001 r4 \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /state --shell /usr/sbin/nologin r4 \
    && install -d -o r4 -g r4 -m 0700 /state
COPY --from=build /opt/r4-mcp /opt/r4-mcp
# Nothing is written outside /state, so the root file system may be read-only.
ENV PATH=/opt/r4-mcp/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/state \
    R4_HOME=/state
USER 10001:10001
WORKDIR /state
VOLUME ["/state"]
ENTRYPOINT ["r4-mcp"]
CMD ["serve"]
