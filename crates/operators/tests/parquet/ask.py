"""Asks DuckDB: prints the rows of a statement as JSON, each value as DuckDB shows it."""

import json
import sys

import duckdb

database = duckdb.connect()
database.execute("SET TimeZone = 'UTC'")
print(json.dumps(database.execute(sys.argv[1]).fetchall()))
