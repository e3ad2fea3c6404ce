# The whole console in one container: `docker compose up`, or `docker build -t mailadmin .` and
# `docker run -p 127.0.0.1:8000:8000 -v mailadmin:/data mailadmin`. With DATABASE_URL and REDIS_URL set, run the
# processes of the Procfile instead: `mailadmin migrate`, `mailadmin web`, `mailadmin runner` and `mailadmin watcher`.
FROM debian:trixie-slim

RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --no-create-home --home-dir /data mailadmin \
    && install -d -o mailadmin -g mailadmin -m 700 /data

WORKDIR /srv/mailadmin
COPY requirements.txt .
RUN python3 -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.txt
COPY . .
RUN /venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation -e .

ENV PATH=/venv/bin:$PATH MAILADMIN_DATA=/data PYTHONUNBUFFERED=1
USER mailadmin
VOLUME /data
EXPOSE 8000
HEALTHCHECK --start-period=60s --interval=30s --timeout=5s \
    CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["mailadmin", "up", "--host", "0.0.0.0"]
