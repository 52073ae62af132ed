# shellcheck shell=bash disable=SC2034,SC2154 # shared with bench/run
#
# Claim, then complete, in two transactions, by 1, 10 and 100 (W3, W4).

waiting=$((40000 * duration))
compare claim_complete_1 "claim + complete of 1" \
	"textbook: claim_one complete_one" \
	"job_queue: claim_one complete_one" \
	"job_queue/relaxed: claim_one complete_one"
mark job_queue textbook 1.25 1.4
mark job_queue/relaxed textbook 1.6 2.2

duration=$(((duration + 1) / 2))
waiting=$((300000 * duration))
for batch in 10 100; do
	compare "claim_complete_$batch" "claim + complete of $batch" \
		"textbook: claim_many complete_many" "job_queue: claim_many complete_many"
done
mark job_queue textbook 2.0 3.5
