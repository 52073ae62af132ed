# shellcheck shell=bash disable=SC2034,SC2154 # shared with bench/run
#
# WAL and disk per job, whole life, 100-byte payload, no full-page images (W10).
#
# Everything that the server wrote meanwhile counts, vacuum too; what was there
# before the run does not.

history=100000
payload='{"document": "/srv/documents/2024/06/report-17.pdf", "pages": 42, "sha256": "9f86d081884c7d659a2f3"}'

disk_before() {
	disk=$(run_fragment "$1" disk)
}

wal_facts() {
	local system=$1 jobs=$3 wal=$4

	disk=$(($(run_fragment "$system" disk) - disk))
	fact "WAL per job, whole life, bytes" "$system" $((wal / jobs))
	fact "disk per finished job, bytes" "$system" $((disk / jobs))
}

after_fill=disk_before
after_run=wal_facts
server_set full_page_writes off
compare wal "whole life of 1, no full-page images" \
	"textbook: enqueue_one claim_one complete_one" \
	"job_queue: enqueue_one claim_one complete_one"
server_set full_page_writes on
fact_mark "WAL per job, whole life, bytes" job_queue "<=" 950 700
