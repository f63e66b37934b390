#!/bin/sh
# Run once by PostgreSQL's image, when the database is new: the role that Grafana reads the ledger as.
# The tables come later, from `farebox db upgrade`: what the owner will create, the reader may read.
# (That includes the SHA-256 of the keys, from which nobody gets back to 256 random bits.)
set -eu

psql --set=ON_ERROR_STOP=1 --set=password="$FAREBOX_READER_PASSWORD" \
  --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
CREATE ROLE farebox_reader LOGIN PASSWORD :'password' CONNECTION LIMIT 10;
ALTER ROLE farebox_reader SET default_transaction_read_only = on;
ALTER ROLE farebox_reader SET statement_timeout = '30s';
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO farebox_reader;
SQL
