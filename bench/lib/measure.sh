# shellcheck shell=bash disable=SC2034,SC2154 # shared with bench/run
#
# Measuring: fresh databases, timed runs of pgbench, systems in turn.
#
# A system is named DIALECT[/VARIANT][@WAITING]: a folder of sql/, how it is
# told apart (relaxed: a queue with relaxed claims; async: a session that does
# not wait for the flush), and how many jobs wait at the start, where that is
# not the same for all.  "job_queue/relaxed@1000" is one.
#
# Every run starts from a database made for it, so that no system works on what
# another left.  Afterwards the jobs are counted in the tables, so that a run
# that ran out of jobs is noticed.

# 120 bytes as text
standard_payload='{"document": "/srv/documents/2024/06/quarterly-report-117.pdf", "language": "en", "pages": 42, "sha256": "9f86d081884c"}'

# What a workload may change before it calls compare.
workload_defaults() {
	batch=1					# jobs per transaction
	waiting=1000			# jobs waiting at the start
	history=0				# jobs finished before the start
	counted=finished		# what counts: enqueued, claimed, finished or turns
	duration=$run_seconds
	payload=$standard_payload
	after_fill=				# called with the system, before the run
	after_run=				# called with system, round, jobs, bytes of WAL
}

dialect_of() {
	printf '%s' "${1%%[/@]*}"
}

waiting_of() {
	case $1 in
		*@*) printf '%s' "${1#*@}" ;;
		*) printf '%s' "$waiting" ;;
	esac
}

durability_of() {
	case $1 in
		*/relaxed*) printf relaxed ;;
		*) printf durable ;;
	esac
}

# fragment SYSTEM NAME [JOBS]: a file of sql/, filled in.  A claim_one is a
# claim whose answer the next statement uses.
fragment() {
	local name=$2 jobs=$batch end=';'

	[ "$name" != claim_one ] || { name=claim jobs=1 end='\\gset'; }
	sed -e "s/@BATCH@/$jobs/g; s/@CLIENTS@/$clients/g; s/@JOBS@/${3:-0}/g" \
		-e "s/@DURABILITY@/$(durability_of "$1")/g; s/ @END@/ $end/" \
		-e "s|@PAYLOAD@|$payload|g" "$bench/sql/$(dialect_of "$1")/$name.sql"
}

# The same, run in the database.
run_fragment() {
	fragment "$@" >"$work/fragment.sql" && psql_file bench "$work/fragment.sql"
}

# The system's tables, with its finished and waiting jobs.
fresh_database() {
	local jobs

	jobs=$(waiting_of "$1")
	sql postgres "DROP DATABASE IF EXISTS bench WITH (FORCE)" 2>>"$work/log/notices.txt" &&
		sql postgres "CREATE DATABASE bench" &&
		# The next checkpoint is minutes away, so that no run begins by writing
		# full pages of what was filled.
		sql postgres "CHECKPOINT" &&
		run_fragment "$1" setup >/dev/null || return 1
	# Nor should the run pay for cleaning up after its history.
	[ "$history" -eq 0 ] ||
		{ run_fragment "$1" history "$history" && run_fragment "$1" vacuum; } || return 1
	[ "$jobs" -eq 0 ] || run_fragment "$1" fill "$jobs" || return 1
	run_fragment "$1" analyze || return 1
	[ -z "$after_fill" ] || "$after_fill" "$1"
}

# check_plan SYSTEM FRAGMENT...: the textbook's claim must not be measured with
# a bad plan.
check_plan() {
	case "$*" in
		textbook*claim*) ;;
		*) return 0 ;;
	esac
	{
		echo EXPLAIN
		fragment textbook claim | sed '/^--/d; /^\\/d; s/:token/1/'
	} >"$work/plan.sql"
	! psql_file bench "$work/plan.sql" | grep -q 'Seq Scan' ||
		warn "the textbook claim scans its whole table"
}

# timed_pgbench SYSTEM FRAGMENT...: run the fragments, one after the other, as
# one script.  Leaves pgbench's words in $work/pgbench.txt, and the times of
# the sampled turns in $work/tmp/turns.*.
timed_pgbench() {
	local system=$1 name options=
	shift

	for name; do fragment "$system" "$name"; done >"$work/script.sql"
	case $system in
		*/async*) options='-c synchronous_commit=off' ;;
	esac

	rm -f "$work"/tmp/turns.*
	limited $((duration + 60)) env "PGOPTIONS=$options" \
		pgbench -n -M prepared -c "$clients" -j 2 -T "$duration" -P 10 \
		-f "$work/script.sql" -D payload="$payload" -D id=0 -D 'ids={}' -D 'tokens={}' \
		-l --log-prefix="$work/tmp/turns" --sampling-rate=0.2 bench >"$work/pgbench.txt" 2>&1
}

# Turns of the script, and how long they took in seconds.
pgbench_turns() {
	awk '/transactions actually processed/ { turns = $NF }
		/^tps/ { print turns, turns / $3 }' "$work/pgbench.txt"
}

# How many jobs the run moved, as the tables have it.
jobs_moved() {
	local all running finished

	[ "$counted" != turns ] || { echo $(($2 * batch)); return; }
	read -r all running finished < <(run_fragment "$1" counts)
	case $counted in
		enqueued) echo $((all - $(waiting_of "$1") - history)) ;;
		claimed) echo "$running" ;;
		finished) echo $((finished - history)) ;;
	esac
}

# p50 and p99 of a column of numbers.
percentiles() {
	sort -n | awk '
		function at(part, i) { i = int(NR * part + 0.999999); return value[i ? i : 1] }
		{ value[NR] = $1 }
		END { if (NR) print at(0.5), at(0.99); else print 0, 0 }'
}

# run_once CASE SYSTEM ROUND FRAGMENT...: one line of results.tsv.
run_once() {
	local case=$1 system=$2 round=$3 wal cpu jobs turns seconds p50 p99
	shift 3

	fresh_database "$system" || { failed "$case: $system could not be set up"; return; }
	check_plan "$system" "$@"
	wal=$(server_wal)
	cpu=$(server_cpu)
	timed_pgbench "$system" "$@" || {
		grep -v '^progress' "$work/pgbench.txt" | tail -n 5 >&2
		failed "$case: pgbench of $system stopped"
		return
	}
	wal=$(($(server_wal) - wal))
	cpu=$(($(server_cpu) - cpu))

	read -r turns seconds < <(pgbench_turns)
	jobs=$(jobs_moved "$system" "$turns")
	read -r p50 p99 < <(cat "$work"/tmp/turns.* | awk '{ print $3 }' | percentiles)
	# A chain ends with a job in each client's hands.
	[ "$jobs" -ge $(((turns - clients) * batch)) ] ||
		failed "$case: $system moved only $jobs jobs in $turns turns of $batch"

	awk -v OFS='\t' -v jobs="$jobs" -v seconds="$seconds" -v p50="$p50" -v p99="$p99" \
		-v wal="$wal" -v cpu="$cpu" -v head="$case\t$system\t$round" 'BEGIN {
			some = jobs > 0 ? jobs : 1
			print head, jobs / seconds, p50 / 1000, p99 / 1000, wal / some, cpu / some
		}' >>"$work/tsv/results.tsv"
	say "$(printf '%-18s %s  %-20s %9.0f jobs/s' "$case" "$round" "$system" \
		"$(tail -n 1 "$work/tsv/results.tsv" | cut -f 4)")"
	[ -z "$after_run" ] || "$after_run" "$system" "$round" "$jobs" "$wal"
}

# compare CASE TITLE "SYSTEM: FRAGMENT..."...: the systems in turn, in rounds.
compare() {
	local case=$1 round spec

	compared=$case
	printf '%s\t%s\n' "$case" "$2" >>"$work/tsv/cases.tsv"
	shift 2
	for round in $(seq "$rounds"); do
		for spec; do
			# shellcheck disable=SC2086 # the fragments are words
			run_once "$case" "${spec%%: *}" "$round" ${spec#*: }
		done
	done
}

# mark SYSTEM BASE MARK GOAL: what the case just compared must show.
mark() {
	printf '%s\t%s\t%s\t%s\t%s\n' "$compared" "$@" >>"$work/tsv/marks.tsv"
}

# fact NAME SYSTEM VALUE: one more reading of a single figure.
fact() {
	printf '%s\t%s\t%s\n' "$@" >>"$work/tsv/facts.tsv"
}

# fact_mark NAME SYSTEM RELATION MARK GOAL: RELATION is <=, < or >=.
fact_mark() {
	printf '%s\t%s\t%s\t%s\t%s\n' "$@" >>"$work/tsv/factmarks.tsv"
}
