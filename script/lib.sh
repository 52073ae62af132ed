# shellcheck shell=bash
#
# lib.sh: what the scripts of this folder share.  Sourced, not run.
#
#	install_packages NAME...	install Debian packages, the missing ones only
#	make_work					make $work, a scratch folder, removed at exit
#	copy_tree					copy the checkout to $tree, in the scratch folder
#	private_postgres			copy the installed server to the scratch folder,
#								to install the extension into; sets $pg_bin
#	limited SECONDS COMMAND		run a command as the user of the server, with a
#								limit of time and memory
#	build [MAKE ARGUMENT...]	build the copied tree and install it there
#	start_server NAME [LINE...]	start a server of our own, with more lines for
#								its postgresql.conf
#
# Tests run as postgres when root starts the script, since a server refuses to
# run as root.  Nothing outside the scratch folder is written, except packages.
# Whatever was started is stopped when the script ends, however it ends.
#
#	JQ_PG_MAJOR=17	another server than 15
#	JQ_SANITIZE=1	build with address and undefined behaviour sanitizers
#	JQ_KEEP=1		keep the scratch folder

set -u -o pipefail
umask 022
unset CDPATH
# minimal shells come without the system folders that apt and runuser need
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL=C TZ=UTC

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
pg_major=${JQ_PG_MAJOR:-15}

# Every Debian package that any script needs, by what for.
# shellcheck disable=SC2034	# used by the scripts that source this
{
	packages_build="gcc libc6-dev make postgresql-$pg_major postgresql-server-dev-$pg_major"
	packages_clang="clang"
	packages_lint="clang clang-format clang-tidy cppcheck binutils perl"
	packages_models="spin"
	packages_test="postgresql-$pg_major-pgtap postgresql-$pg_major-plpgsql-check
		libtap-parser-sourcehandler-pgtap-perl libipc-run-perl perl"
	packages_long="debootstrap"
	packages_demo="python3-psycopg poppler-utils"
}

memory_limit=$((8 << 30))	# of a process, in bytes

work=		# our scratch folder
tree=		# the copied checkout
pg_bin=		# programs of the private server
child=		# process that we wait for
user_env=()	# environment of the commands that we run, beyond the basics

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# ---------------------------------------------------------------- packages

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

is_installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# A package of the server makes a cluster and starts it, unless told not to.
# What the machine's owner has set already is left alone.
services_mark="# made by job_queue's scripts while they install packages"
services_policy=/usr/sbin/policy-rc.d
services_cluster=/etc/postgresql-common/createcluster.d/job_queue.conf
services_forbidden=

forbid_services() {
	services_forbidden=1
	if [ ! -e "$services_policy" ]; then
		printf '#!/bin/sh\n%s\nexit 101\n' "$services_mark" |
			as_root tee "$services_policy" >/dev/null
		as_root chmod 755 "$services_policy"
	fi
	as_root mkdir -p "${services_cluster%/*}"
	printf '%s\ncreate_main_cluster = false\n' "$services_mark" |
		as_root tee "$services_cluster" >/dev/null
}

allow_services() {
	[ -n "$services_forbidden" ] || return 0
	services_forbidden=
	if grep -qsF "$services_mark" "$services_policy"; then
		as_root rm -f "$services_policy"
	fi
	as_root rm -f "$services_cluster"
	as_root rmdir --ignore-fail-on-non-empty "${services_cluster%/*}"
}

# What packages say while they are set up matters only when it fails.
apt_get() {
	local said

	said=$(as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq \
		-o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 "$@" </dev/null 2>&1) ||
		{ printf '%s\n' "$said" | tail -n 20 >&2; return 1; }
}

install_packages() {
	local missing=() name try
	for name; do
		case " ${missing[*]} " in
			*" $name "*) ;;
			*) is_installed "$name" || missing+=("$name") ;;
		esac
	done
	[ ${#missing[@]} -gt 0 ] || return 0

	echo "installing: ${missing[*]}"
	as_root true || die "run it as root, or as a user who may sudo"
	forbid_services
	for try in 1 2 3; do
		# the update may fail for a source that we do not need
		apt_get update || true
		if apt_get install -y --no-install-recommends "${missing[@]}"; then
			allow_services
			return 0
		fi
		sleep $((try * 5))
	done
	die "could not install: ${missing[*]}"
}

# ------------------------------------------------------------ scratch folder

# A short path, since that of a socket must fit into 107 bytes.
make_work() {
	work=$(mktemp -d /tmp/jq.XXXXXX) || die "no scratch folder"
	chmod 755 "$work"
	mkdir "$work/log" "$work/tmp"
	give_to_user "$work"
}

give_to_user() {
	[ "$(id -u)" -ne 0 ] || chown -R postgres:postgres "$@"
}

copy_tree() {
	tree=$work/tree
	mkdir "$tree"
	tar -C "$top" -cf - --exclude=./.git --exclude='*.o' --exclude='*.bc' \
		--exclude='*.so' --exclude=./tmp_check --exclude=./results \
		--exclude=./output_iso . | tar -C "$tree" -xf - || die "could not copy $top"
	give_to_user "$tree"
}

# The server finds its files relative to its own program, so a copy is a whole
# installation: two runs of a script, or the user's own server, never meet.
private_postgres() {
	local lib=usr/lib/postgresql/$pg_major share=usr/share/postgresql/$pg_major
	local pg=$work/pg

	[ -x "/$lib/bin/postgres" ] || die "PostgreSQL $pg_major is not installed"
	mkdir -p "$pg/$lib" "$pg/$share"
	cp -a "/$lib/." "$pg/$lib"
	cp -a "/$share/." "$pg/$share"
	ln -s /usr/include "$pg/usr/include"
	rm -rf "$pg/$lib/lib/"{,bitcode/}job_queue* "$pg/$share/extension/job_queue"*
	give_to_user "$pg"
	pg_bin=$pg/$lib/bin
}

# ------------------------------------------------------------------ commands

# Run a command as the user of the server, in a clean environment, with
# limits.  It runs in the background, so that a signal to us is acted upon at
# once instead of when the command ends.
limited() {
	local seconds=$1 status run=()
	shift

	[ "$(id -u)" -ne 0 ] ||
		run=(setpriv --reuid=postgres --regid=postgres --init-groups)
	# a leak ends as an error, not as a machine without memory
	[ -n "${JQ_SANITIZE:-}" ] || run+=(prlimit --as="$memory_limit")
	run+=(env -i "HOME=$work" "TMPDIR=$work/tmp" "PATH=${pg_bin:+$pg_bin:}$PATH"
		LC_ALL=C TZ=UTC "${user_env[@]}" timeout -k 10 "$seconds")

	"${run[@]}" "$@" </dev/null &
	child=$!
	wait "$child"
	status=$?
	child=
	[ "$status" -ne 124 ] || echo "stopped after $seconds seconds: $*"
	return "$status"
}

in_tree() {
	local seconds=$1
	shift
	limited "$seconds" env -C "$tree" "$@"
}

# ------------------------------------------------------------- the extension

build() {
	local sanitize=()

	[ -z "${JQ_SANITIZE:-}" ] ||
		sanitize=("COPT=-fsanitize=address,undefined -fno-sanitize-recover=undefined"
			WERROR=0)	# the instrumented code makes gcc see ghosts
	in_tree 240 make -s -k -O -j "$(nproc)" PG_CONFIG="$pg_bin/pg_config" with_llvm=no \
		WERROR=1 "${sanitize[@]}" "$@"
}

# The sanitizer's runtime must be the first library of the process, and must be
# initialised before the constructors of those that the server's LDAP client
# brings, or the server hangs at start.  A library marked "initfirst" does that.
preload_sanitizer() {
	local first=$work/tmp/sanitizer_first

	echo 'extern void __asan_init(void);
__attribute__((constructor)) static void first(void) { __asan_init(); }' >"$first.c"
	limited 60 gcc -shared -fPIC -Wl,-z,initfirst -o "$first.so" "$first.c" || return 1
	user_env+=("LD_PRELOAD=$(gcc -print-file-name=libasan.so) $first.so"
		"ASAN_OPTIONS=detect_leaks=0:abort_on_error=1"
		"UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1:abort_on_error=1")
}

# ------------------------------------------------------------------- servers

# It listens on a socket in the scratch folder only, so any port number is free.
start_server() {
	local name=$1 data=$work/$1
	shift

	limited 60 "$pg_bin/initdb" -D "$data" -U postgres -A trust -E UTF8 --no-locale \
		--data-checksums --no-sync >"$work/log/$name-initdb.txt" 2>&1 ||
		{ cat "$work/log/$name-initdb.txt"; return 1; }
	{
		echo "listen_addresses = ''"
		echo "unix_socket_directories = '$work'"
		echo "port = 5432"
		echo "timezone = 'UTC'"
		echo "log_timezone = 'UTC'"
		echo "log_line_prefix = '%m [%p] %e %d %a '"
		printf '%s\n' "$@"
	} >>"$data/postgresql.conf"
	user_env+=("PGHOST=$work" PGPORT=5432 PGUSER=postgres PGDATABASE=postgres)

	limited 90 "$pg_bin/pg_ctl" -D "$data" -l "$work/log/$name-server.txt" -w -t 60 start ||
		{ tail -n 30 "$work/log/$name-server.txt"; return 1; }
}

# A pid file may be stale, and its process id somebody else's by now: only a
# process that runs in that very folder is stopped.
stop_server() {
	local data=$1 pid

	pid=$(head -n 1 "$data/postmaster.pid")
	[ "$(readlink "/proc/$pid/cwd")" = "$data" ] || return 0
	limited 60 "$pg_bin/pg_ctl" -D "$data" -m immediate -w -t 30 stop >/dev/null 2>&1 ||
		kill -KILL "$pid" 2>/dev/null
}

# Also those that a test left behind.
stop_servers() {
	local file

	find "$work" -name postmaster.pid 2>/dev/null | while read -r file; do
		stop_server "${file%/*}"
	done
}

# Clients that a test left behind, when it broke off.  Whatever we run has the
# scratch folder for a home.
kill_clients() {
	local environment

	for environment in /proc/[0-9]*/environ; do
		if grep -zqxF "HOME=$work" "$environment" 2>/dev/null; then
			environment=${environment#/proc/}
			kill -KILL "${environment%/environ}" 2>/dev/null
		fi
	done
}

# ----------------------------------------------------------------------- exit

clean_up() {
	local status=$?

	trap - EXIT
	trap '' HUP INT TERM	# a second signal must not stop the cleaning
	if [ -n "$child" ]; then
		kill "$child" 2>/dev/null
		wait "$child"
	fi
	allow_services
	if [ -n "$work" ]; then
		stop_servers
		kill_clients
		if [ -n "${JQ_KEEP:-}" ]; then
			echo "kept: $work"
		else
			rm -rf --one-file-system "$work" 2>/dev/null ||
				{ sleep 1; rm -rf --one-file-system "$work"; }
		fi
	fi
	exit "$status"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
