# shellcheck shell=bash disable=SC2034,SC2154 # shared with bench/run
#
# Claim + complete of 1 with 1,000 and with 1,000,000 jobs waiting (W3).
#
# Each turn enqueues ten jobs in one transaction, then claims and completes ten
# one by one, so that the depth stays and the enqueue is a small part.

history=100000
batch=10
turn=enqueue_many
for _ in $(seq $batch); do turn+=" claim_one complete_one"; done
compare depth "claim + complete of 1 at a depth" \
	"textbook@1000: $turn" "textbook@1000000: $turn" \
	"job_queue@1000: $turn" "job_queue@1000000: $turn"
mark job_queue@1000000 job_queue@1000 0.9 1.0
