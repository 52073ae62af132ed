# shellcheck shell=bash disable=SC2034,SC2154 # shared with bench/run
#
# A worker that chains complete_and_claim, one commit per job.

waiting=$((40000 * duration))
compare chain "complete_and_claim chain" \
	"textbook: claim_one complete_one" "job_queue: chain"
mark job_queue textbook 2 3
