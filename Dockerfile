# Two stages: the first builds wheels and compiles bytecode, the second has neither compiler nor pip cache.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md ./
COPY r4_mcp ./r4_mcp
RUN python -m venv /opt/r4-mcp \
    && /opt/r4-mcp/bin/pip install --no-cache-dir . \
    && /opt/r4-mcp/bin/python -m compileall -q /opt/r4-mcp/lib

FROM python:3.13-slim
LABEL org.opencontainers.image.title="r4-mcp" \
      org.opencontainers.image.description="MCP server that gives AI agents the use of an R4 zero-trust vault" \
      org.opencontainers.image.licenses="Apache-2.0"
# A fixed id, so that a volume's owner can be set from outside.
RUN groupadd --gid 10001 r4 && useradd --uid 10001 --gid r4 --create-home --shell /usr/sbin/nologin r4 \
    && install -d -o r4 -g r4 -m 0700 /state
COPY --from=build /opt/r4-mcp /opt/r4-mcp
ENV PATH=/opt/r4-mcp/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    R4_HOME=/state
USER r4
WORKDIR /state
VOLUME ["/state"]
ENTRYPOINT ["r4-mcp"]
CMD ["serve"]
