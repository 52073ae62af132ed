# shellcheck shell=bash disable=SC2034,SC2154 # shared with bench/run
#
# The report: what ran where, then the tables.

report_inputs="cases marks results factmarks facts series"

report_begin() {
	local input

	mkdir "$work/tsv"
	for input in $report_inputs; do : >"$work/tsv/$input.tsv"; done
}

machine() {
	printf '%s cores, %s, %s, %s, Linux %s\n' "$(nproc)" \
		"$(awk -F ': *' '/^model name/ { print $2; exit }' /proc/cpuinfo)" \
		"$(awk '/^MemTotal/ { printf "%.0f GB of memory", $2 / 1048576 }' /proc/meminfo)" \
		"$(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release)" "$(uname -r | grep -oE "^[0-9]+\.[0-9]+")"
}

# Those that were set, and those that the figures hang on.
settings() {
	sql postgres "
		SELECT string_agg(name || ' = ' || current_setting(name), ', ' ORDER BY name)
		  FROM pg_settings
		 WHERE name IN ('shared_preload_libraries', 'fsync', 'synchronous_commit',
			'shared_buffers', 'max_wal_size', 'checkpoint_timeout', 'full_page_writes',
			'wal_level', 'wal_compression', 'data_checksums', 'autovacuum', 'jit')
		    OR name LIKE 'job\_queue.%' AND setting <> boot_val"
}

report_head() {
	cat <<-HEAD
		# Results

		Made by \`bench/run${command_line:+ $command_line}\`. Absolute figures move by a third within the hour
		on a shared machine: compare only what stands here together, the ratios first.

		* Date: $begun to $(date -u '+%H:%M UTC')
		* Machine: $(machine)
		* Server: $(sql postgres 'SELECT version()')
		* Settings: $(settings)
		* Extension: job_queue $(sed -n "s/^default_version *= *'\(.*\)'/\1/p" "$top/job_queue.control")
		* Load: pgbench -M prepared over a Unix socket, $clients clients in 2 threads, a payload of
		  ${#standard_payload} bytes; systems in turn, each run in a new database; medians of $rounds runs
		  of $run_seconds s, some shorter or longer as the workload says

		p50 and p99 are of one turn of a client with all its transactions. WAL and processor
		time (the server's, not pgbench's) are per job, and count all that the server did meanwhile.

	HEAD
}

report() {
	local input files=()

	for input in $report_inputs; do files+=("$work/tsv/$input.tsv"); done
	report_head
	awk -f "$bench/lib/report.awk" "${files[@]}"
	[ -z "$failures" ] || printf '\nDid not run as it should:\n\n%b' "$failures"
}
