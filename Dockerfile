# The daemon as an image: `make image`, docs/how-to/container.md. Built in two stages: the second has no pip, no compiler
# and no sources. Nothing in it is written while it runs but /var/lib/watchdog.
FROM python:3.11-slim AS build
WORKDIR /src
# The tools, and what the daemon needs at run time (with the extras for charts, clusters and PostgreSQL): exactly what requirements.lock pins, by hash.
COPY pyproject.toml requirements.lock .ci/locked ./
RUN python3 -m venv /tools \
    && python3 -m venv --without-pip /opt/rollback-watchdog/venv \
    && /tools/bin/python locked --build >tools.lock \
    && /tools/bin/python locked >needs.lock \
    && /tools/bin/python -m pip install --no-cache-dir --quiet --require-hashes --no-deps -r tools.lock \
    && /tools/bin/python -m pip --python /opt/rollback-watchdog/venv/bin/python \
        install --no-cache-dir --quiet --require-hashes --no-deps -r needs.lock
COPY README.md LICENSE ./
COPY watchdog watchdog
RUN /tools/bin/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /dist . \
    && /tools/bin/python -m pip --python /opt/rollback-watchdog/venv/bin/python \
        install --no-cache-dir --quiet --no-deps --no-index /dist/*.whl

FROM python:3.11-slim
RUN useradd --uid 9911 --user-group --no-log-init --no-create-home --home-dir /var/lib/watchdog \
        --shell /usr/sbin/nologin rollback-watchdog \
    && install -d -o 9911 -g 9911 -m 0750 /var/lib/watchdog
COPY --from=build /opt/rollback-watchdog/venv /opt/rollback-watchdog/venv
ENV PATH=/opt/rollback-watchdog/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONFAULTHANDLER=1
# By number, so that an orchestrator sees that it is not root.
USER 9911:9911
WORKDIR /var/lib/watchdog
VOLUME /var/lib/watchdog
EXPOSE 9911
STOPSIGNAL SIGTERM
# Whether the reactor gets on; WATCHDOG_URL where it listens elsewhere.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python3", "-c", "import os, urllib.request as r; r.urlopen(os.environ.get('WATCHDOG_URL', 'http://127.0.0.1:9911') + '/healthz', timeout=4)"]
ENTRYPOINT ["watchdog"]
CMD ["run", "-c", "/etc/watchdog/watchdog.yaml"]
