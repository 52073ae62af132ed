# shellcheck shell=bash disable=SC2034,SC2154 # shared with bench/run
#
# Idle queue: from the commit of an enqueue to the waiting worker's claim (W7).
#
# One worker, one producer, a job every 10 to 30 ms (wakeup.c).  Counted from
# the producer sending COMMIT, which includes its flush, and from the answer to
# COMMIT.  The flush of the claim is in both.

waiting=0
history=100000

wakeup_facts() {
	local system=$1 column=$2 since=$3 p50 p99

	read -r p50 p99 < <(cut -d ' ' -f "$column" "$work/wakeup.txt" | percentiles)
	say "$(printf '%-18s %s  %-20s %s: p50 %s us, p99 %s us' wakeup "$round" "$system" \
		"$since" "$p50" "$p99")"
	fact "idle wake-up from $since, p50, ms" "$system" "$(awk "BEGIN { print $p50 / 1000 }")"
	fact "idle wake-up from $since, p99, ms" "$system" "$(awk "BEGIN { print $p99 / 1000 }")"
}

limited 60 gcc -O2 -Wall -Wextra -I"$(pg_config --includedir)" -o "$work/tmp/wakeup" \
	"$bench/wakeup.c" -lpq -lpthread || die "wakeup.c does not compile"
for round in $(seq "$rounds"); do
	for system in textbook job_queue; do
		fresh_database "$system" || { failed "wakeup: $system could not be set up"; continue; }
		limited $((duration * 2 + 60)) "$work/tmp/wakeup" "$system" $((duration * 40)) \
			"dbname=bench" >"$work/wakeup.txt" || { failed "wakeup: $system stopped"; continue; }
		wakeup_facts "$system" 1 "COMMIT sent"
		wakeup_facts "$system" 2 "COMMIT answered"
	done
done
for since in "COMMIT sent" "COMMIT answered"; do
	fact_mark "idle wake-up from $since, p50, ms" job_queue "<" 0.5 0.2
	fact_mark "idle wake-up from $since, p99, ms" job_queue "<" 2.5 2.5
done
