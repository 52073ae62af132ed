# shellcheck shell=bash disable=SC2034,SC2154 # shared with bench/run
#
# 10,000,000 waiting jobs: enqueued, claimed in order, and memory stays.

waiting=10000000
[ -z "$quick" ] || waiting=1000000
name="$((waiting / 1000000)) million waiting"

# Far enough that the ready index is filled again from the table many times.
claim_many_of_them() {
	local turns seconds moved

	batch=100
	timed_pgbench job_queue claim_many complete_many || return 1
	read -r turns seconds < <(pgbench_turns)
	moved=$(jobs_moved job_queue "$turns")
	fact "$name: claim + complete of 100, jobs/s" job_queue \
		"$(awk -v jobs="$moved" -v seconds="$seconds" 'BEGIN { print jobs / seconds }')"
	[ "$moved" -eq $((turns * batch)) ] ||
		failed "millions: $turns claims of $batch brought $moved jobs"
}

memory_before=$(server_shared_memory)
filled_from=$(date +%s%N)
if fresh_database job_queue; then
	fact "$name: enqueued by 10,000 in one session, jobs/s" job_queue \
		$((waiting * 1000 / (($(date +%s%N) - filled_from) / 1000000)))
	read -r claimed in_order < <(run_fragment job_queue claim_in_order)
	fact "$name: claimed of 1,000 asked for" job_queue "$claimed"
	fact_mark "$name: claimed of 1,000 asked for" job_queue ">=" 1000 1000
	fact "$name: of these in order" job_queue "$in_order"
	fact_mark "$name: of these in order" job_queue ">=" 1000 1000
	claim_many_of_them || failed "millions: claim + complete stopped"
	fact "$name: shared memory grown by, bytes" job_queue \
		$(($(server_shared_memory) - memory_before))
	fact_mark "$name: shared memory grown by, bytes" job_queue "<=" 0 0
else
	failed "millions: job_queue could not be set up"
fi
