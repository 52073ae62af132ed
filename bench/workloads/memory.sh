# shellcheck shell=bash disable=SC2034,SC2154 # shared with bench/run
#
# Shared memory asked for at the defaults.

memory=$(server_shared_memory)
[ "$memory" -gt 0 ] || failed "memory: no shared memory of the extension is to be seen"
fact "shared memory at the defaults, MiB" job_queue \
	"$(awk -v bytes="$memory" 'BEGIN { printf "%.1f", bytes / 1048576 }')"
fact_mark "shared memory at the defaults, MiB" job_queue "<=" 64 64
