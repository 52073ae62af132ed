# shellcheck shell=bash disable=SC2034,SC2154 # shared with bench/run
#
# Claims and nothing else, of 1, 10 and 100 jobs.
#
# Enough jobs wait at the start for the fastest system to claim without end,
# and all start from as many.  The textbook in a session that does not wait for
# the flush is there for contrast with relaxed claims.

counted=claimed
waiting=$((80000 * duration))
compare claim_1 "claim of 1" \
	"textbook: claim_one" "textbook/async: claim_one" \
	"job_queue: claim_one" "job_queue/relaxed: claim_one"
mark job_queue textbook 1.4 1.7
mark job_queue/relaxed textbook 3 5

# Half as long, or the tables would outgrow the server's memory.
duration=$(((duration + 1) / 2))
for batch in 10 100; do
	waiting=$(((batch == 10 ? 225000 : 350000) * duration))
	compare "claim_$batch" "claim of $batch" "textbook: claim" "job_queue: claim"
	mark job_queue textbook 2.5 5
done
