#!/bin/sh
# Puts back what scripts/backup.sh has saved: `scripts/restore.sh FOLDER`. Runs, models and aliases are those of the backup again; MLflow is
# away meanwhile, and predictions go on. Volumes that were lost are made anew.
set -eu
[ $# = 1 ] && [ -f "$1/database" ] && [ -f "$1/bucket.tar" ] || { echo "usage: $0 FOLDER, which a backup has filled" >&2; exit 2; }
docker compose stop mlflow-server
docker compose run --rm -T postgres-setup </dev/null
docker compose run --rm -T minio-setup </dev/null
docker compose run --rm -T --no-deps mlflow-server python -m signet_mlflow_server.bucket load <"$1/bucket.tar"
# What a newer MLflow has added goes, too. Without COMMIT, which only a backup that was read to its end brings, all stays as it was.
docker compose exec -T postgres bash -euo pipefail -c '
    { echo "BEGIN; DROP OWNED BY CURRENT_USER;"; pg_restore --file=- --no-owner --no-privileges && echo "COMMIT;"; } |
    psql --username=mlflow --dbname=mlflow --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --output=/dev/null' <"$1/database"
docker compose up --detach --no-deps --wait mlflow-server
echo "restored from $1"
