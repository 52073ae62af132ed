# shellcheck shell=bash disable=SC2034,SC2154 # shared with bench/run
#
# The server of the bench: a private one, built and started in the scratch
# folder by script/lib.sh, reached over its Unix socket only.

# The rules: durable, as a production server is, nothing tuned for one side.
# start_server() of script/lib.sh is for tests: it adds checksums.
server_settings="shared_preload_libraries = 'job_queue'
fsync = on
synchronous_commit = on
shared_buffers = '2GB'
max_wal_size = '8GB'
autovacuum = on"

server_data=
postmaster=		# its process id

server_create() {
	server_data=$work/server
	limited 120 "$pg_bin/initdb" -D "$server_data" -U postgres -A trust -E UTF8 \
		--no-locale >"$work/log/initdb.txt" 2>&1 ||
		{ cat "$work/log/initdb.txt"; return 1; }
	printf '%s\n' "$server_settings" "listen_addresses = ''" "port = 5432" \
		"unix_socket_directories = '$work'" "timezone = 'UTC'" \
		>>"$server_data/postgresql.conf"

	# for what limited() runs, and for what we run ourselves
	user_env+=("PGHOST=$work" PGPORT=5432 PGUSER=postgres)
	export PGHOST=$work PGPORT=5432 PGUSER=postgres
}

server_start() {
	limited 300 "$pg_bin/pg_ctl" -D "$server_data" -l "$work/log/server.txt" \
		-w -t 290 -s start || { tail -n 30 "$work/log/server.txt"; return 1; }
	postmaster=$(head -n 1 "$server_data/postmaster.pid")
}

server_stop() {
	limited 300 "$pg_bin/pg_ctl" -D "$server_data" -w -t 290 -s -m fast stop
}

# server_set NAME VALUE: change a setting that needs no restart.
server_set() {
	sql postgres "ALTER SYSTEM SET $1 = '$2'" &&
		sql postgres "SELECT pg_reload_conf()" >/dev/null || return 1
	until [ "$(sql postgres "SHOW $1")" = "$2" ]; do sleep 0.1; done
}

# psql_file DATABASE FILE: run a file; the answer comes bare, spaces between.
psql_file() {
	limited 1800 psql -X -q -A -t -F ' ' -v ON_ERROR_STOP=1 -d "$1" -f "$2"
}

# sql DATABASE QUERY: the same with a query.
sql() {
	limited 1800 psql -X -q -A -t -F ' ' -v ON_ERROR_STOP=1 -d "$1" -c "$2"
}

# Processor time that the server and its processes, ended ones included, have
# taken so far, in microseconds.
server_cpu() {
	cat /proc/[0-9]*/stat 2>/dev/null |
		awk -v postmaster="$postmaster" -v tick="$(getconf CLK_TCK)" '
			{ pid = $1; sub(/^.*\) /, "") }
			pid == postmaster { ticks += $12 + $13 + $14 + $15 }
			$2 == postmaster { ticks += $12 + $13 }
			END { printf "%.0f\n", ticks * 1e6 / tick }'
}

# Bytes of WAL written so far.
server_wal() {
	sql postgres "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"
}

# Shared memory that the extension has asked for, in bytes.
server_shared_memory() {
	sql postgres "SELECT coalesce(sum(allocated_size), 0) FROM pg_shmem_allocations
		WHERE name LIKE 'job\_queue%'"
}
