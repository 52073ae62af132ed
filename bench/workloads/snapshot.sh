# shellcheck shell=bash disable=SC2034,SC2154 # shared with bench/run
#
# Whole life of 1 while another session holds a snapshot for two minutes (W6).
#
# The last 10 s are compared with the first, and the sixth 10 s with those of
# the textbook in the same round.

waiting=10000
history=100000
duration=121

hold_snapshot() {
	psql -X -q -d bench >/dev/null 2>&1 <<-'SQL' &
		SET application_name = 'holder';
		BEGIN ISOLATION LEVEL REPEATABLE READ;
		SELECT count(*) FROM pg_class;
		SELECT pg_sleep(600);
	SQL
	holder=$!
	until [ "$(sql bench "SELECT count(*) FROM pg_stat_activity
		WHERE application_name = 'holder' AND backend_xmin IS NOT NULL
		  AND wait_event = 'PgSleep'")" = 1 ]; do
		sleep 0.1
	done
}

# series.tsv has a line for each 10 s: case, system, number, jobs/s.
snapshot_facts() {
	local system=$1 mine="$work/snapshot.$1"

	sql bench "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE application_name = 'holder'" >/dev/null
	wait "$holder"
	awk -v OFS='\t' -v who="$system" '
		/^progress:/ { print "snapshot", who, ++n, $4 }' "$work/pgbench.txt" >"$mine"
	cat "$mine" >>"$work/tsv/series.tsv"
	fact "snapshot held: last 10 s to the first" "$system" \
		"$(awk 'NR == 1 { first = $4 } { last = $4 } END { print last / first }' "$mine")"
	[ "$system" = job_queue ] || return 0
	fact "snapshot held: jobs/s at 50-60 s to the textbook's" "$system" \
		"$(awk '$3 == 6 { rate[FILENAME == ARGV[1]] = $4 } END { print rate[0] / rate[1] }' \
			"$work/snapshot.textbook" "$mine")"
}

after_fill=hold_snapshot
after_run=snapshot_facts
compare snapshot "whole life of 1, snapshot held" \
	"textbook: enqueue_one claim_one complete_one" \
	"job_queue: enqueue_one claim_one complete_one"
fact_mark "snapshot held: last 10 s to the first" job_queue ">=" 0.9 1.0
fact_mark "snapshot held: jobs/s at 50-60 s to the textbook's" job_queue ">=" 10 15
