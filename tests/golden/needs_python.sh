# Sourced: ends the test as skipped where the second reader cannot run.
/usr/bin/python3 -c 'import xxhash, zstandard' ||
  { echo "skipped: /usr/bin/python3 lacks xxhash or zstandard (scripts/install-dependencies test)"; exit 77; }
