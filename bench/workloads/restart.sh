# shellcheck shell=bash disable=SC2034,SC2154 # shared with bench/run
#
# The first claim after a restart with 1,000,000 jobs waiting.
#
# The time of the first call of the first session as psql takes it, and of
# starting psql, connecting and claiming together.

waiting=1000000

first_claim() {
	local begun_at answer="$work/first_claim.txt"

	server_stop && server_start || return 1
	begun_at=$(date +%s%N)
	limited 120 psql -X -A -t -d bench -c '\timing on' \
		-c "SELECT 'jobs: ' || count(*) FROM job_queue.claim('bench')" >"$answer" || return 1
	fact "first claim after a restart with 1,000,000 waiting, connecting included, ms" \
		job_queue $((($(date +%s%N) - begun_at) / 1000000))
	fact "first claim after a restart with 1,000,000 waiting, ms" job_queue \
		"$(awk '/^Time:/ { print $2 }' "$answer")"
	say "restart            $1  $(tr '\n' ' ' <"$answer")"
	grep -qx 'jobs: 1' "$answer"
}

fresh_database job_queue || failed "restart: job_queue could not be set up"
for round in $(seq "$rounds"); do
	first_claim "$round" || failed "restart: the first claim brought no job"
done
fact_mark "first claim after a restart with 1,000,000 waiting, ms" job_queue "<" 500 500
