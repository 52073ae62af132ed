# shellcheck shell=bash disable=SC2034,SC2154 # shared with bench/run
#
# The whole life of a job, three transactions, by 1, 10 and 100, steadily (W5).
#
# 1,000 jobs wait throughout, and 100,000 have been finished before.

history=100000
compare life_1 "whole life of 1" \
	"textbook: enqueue_one claim_one complete_one" \
	"job_queue: enqueue_one claim_one complete_one" \
	"job_queue/relaxed: enqueue_one claim_one complete_one"
mark job_queue textbook 1.25 1.4
mark job_queue/relaxed textbook 1.5 1.9

for batch in 10 100; do
	compare "life_$batch" "whole life of $batch" \
		"textbook: enqueue_many claim_many complete_many" \
		"job_queue: enqueue_many claim_many complete_many"
	mark job_queue textbook 1.8 3
done
