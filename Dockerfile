# One image for daemon, agents and command line. `make image` puts the wheels where this looks.
# The base must have Python 3.11 and pip; .ci/engine makes one where none can be pulled.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS wheels
COPY build/image /wheels
RUN python3 -m venv --without-pip /opt/shootdown \
 && python3 -m pip --python /opt/shootdown/bin/python install --no-cache-dir --no-index \
    --find-links /wheels shootdown \
 && /opt/shootdown/bin/python -m compileall -q /opt/shootdown/lib

FROM ${BASE}
COPY --from=wheels /opt/shootdown /opt/shootdown
RUN echo 'shootdown:x:10001:10001::/nonexistent:/usr/sbin/nologin' >> /etc/passwd \
 && echo 'shootdown:x:10001:' >> /etc/group \
 && install -d -o 10001 -g 10001 -m 0700 /run/shootdown /out /keys
ENV PATH=/opt/shootdown/bin:/usr/local/bin:/usr/bin:/bin \
    SHOOTDOWN_RUNTIME_DIR=/run/shootdown \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /
ENTRYPOINT ["shootdown"]
CMD ["--help"]
