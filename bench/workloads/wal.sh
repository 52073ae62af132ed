# shellcheck shell=bash disable=SC2034,SC2154 # shared with bench/run
#
# WAL and disk per job, whole life, 100-byte payload, no full-page images (W10).
#
# Everything that the server wrote meanwhile counts.  A run is too short for
# autovacuum to come at its usual pace, so the WAL is given a second time with
# that of one vacuum after the run.

history=100000
payload='{"document": "/srv/documents/2024/06/report-17.pdf", "pages": 42, "sha256": "9f86d081884c7d659a2f3"}'

state_before() {
	disk=$(run_fragment "$1" disk)
	wal_before=$(server_wal)
}

wal_facts() {
	local system=$1 jobs=$3 wal=$4

	disk=$(($(run_fragment "$system" disk) - disk))
	fact "WAL per job, whole life, bytes" "$system" $((wal / jobs))
	run_fragment "$system" vacuum
	fact "the same with a vacuum, bytes" "$system" $((($(server_wal) - wal_before) / jobs))
	fact "disk per finished job, bytes" "$system" $((disk / jobs))
}

after_fill=state_before
after_run=wal_facts
server_set full_page_writes off
compare wal "whole life of 1, no full-page images" \
	"textbook: enqueue_one claim_one complete_one" \
	"job_queue: enqueue_one claim_one complete_one"
server_set full_page_writes on
fact_mark "WAL per job, whole life, bytes" job_queue "<=" 950 700
