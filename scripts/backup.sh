#!/bin/sh
# Backs up what the containers must not lose, while they run: `scripts/backup.sh FOLDER`, a new folder. The database comes first: what it
# names lay in the bucket before. COMPOSE_FILE and COMPOSE_PROJECT_NAME say which stack, as for `docker compose` itself.
set -eu
umask 077
[ $# = 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
mkdir -- "$1" # not one that is there: a failed backup must not lie among the files of a good one
# PostgreSQL's own socket, which asks nobody for a password, is in its container alone.
docker compose exec -T postgres pg_dump --username=mlflow --format=custom mlflow </dev/null >"$1/database.partial"
mv -- "$1/database.partial" "$1/database"
docker compose exec -T mlflow-server python -m signet_mlflow_server.bucket save </dev/null >"$1/bucket.partial"
mv -- "$1/bucket.partial" "$1/bucket.tar"
echo "backed up to $1"
