# shellcheck shell=bash disable=SC2034,SC2154 # shared with bench/run
#
# Heartbeats and progress of running jobs, against a durable UPDATE (W9).
#
# Each client keeps one job alive.  That a heartbeat takes no transaction id
# and writes no WAL is shown apart, in one session: the least of five readings,
# since the server's own processes write now and then.

counted=turns

hold_jobs() {
	run_fragment "$1" hold_jobs
}

after_fill=hold_jobs
compare heartbeat "heartbeat" "textbook: hold heartbeat" "job_queue: hold heartbeat"
mark job_queue textbook 5 7
compare progress "report_progress" "textbook: hold heartbeat" "job_queue: hold progress"
mark job_queue textbook 3 5

if fresh_database job_queue; then
	least=
	for _ in 1 2 3 4 5; do
		read -r wal ids < <(run_fragment job_queue heartbeat_cost)
		[ -n "$least" ] && [ "$least" -le "$wal" ] || least=$wal
	done
	fact "WAL of 10,000 heartbeats, bytes" job_queue "$least"
	fact_mark "WAL of 10,000 heartbeats, bytes" job_queue "<=" 0 0
	fact "transaction ids of a heartbeat" job_queue "$ids"
	fact_mark "transaction ids of a heartbeat" job_queue "<=" 0 0
else
	failed "heartbeat: job_queue could not be set up"
fi
