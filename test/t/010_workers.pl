# Every database that has the extension has a maintenance worker, whatever
# happens to workers, databases and server, and the worker is in nobody's way.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->append_conf(
	'postgresql.conf', q{
shared_preload_libraries = 'job_queue'
job_queue.testing = on
max_worker_processes = 20
max_logical_replication_workers = 0
max_prepared_transactions = 2
restart_after_crash = on
allow_in_place_tablespaces = on
log_line_prefix = '%m [%p] %b '
});
$node->start;

my $launcher = q{backend_type = 'job_queue launcher'};
my $maintenance = q{backend_type = 'job_queue maintenance'};

# Wait until exactly these databases have a worker, and one each.
sub workers_are
{
	my ($databases, $name) = @_;
	my $ok = $node->poll_query_until('postgres',
		qq{SELECT coalesce(string_agg(datname, ',' ORDER BY datname), '')
			 FROM pg_stat_activity WHERE $maintenance}, $databases);

	ok($ok, $name);
	return;
}

# Wait until a process of this kind is there that is not one of these.
sub process
{
	my ($which, @not) = @_;
	my $not = join(',', 0, @not);

	$node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity
		  WHERE $which AND pid NOT IN ($not)")
	  or return 'none';
	return $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity
		  WHERE $which AND pid NOT IN ($not)");
}

sub worker_of
{
	my ($database, @not) = @_;
	return process("$maintenance AND datname = '$database'", @not);
}

# A worker sleeps when it has run every step once.
sub has_done_a_round
{
	my ($pid) = @_;
	return $node->poll_query_until('postgres',
		"SELECT state = 'idle' AND wait_event_type = 'Extension'
		   FROM pg_stat_activity WHERE pid = $pid");
}

sub sql
{
	my ($database, @statements) = @_;
	return $node->safe_psql($database, join(";\n", @statements));
}

# Have every worker that starts from now on stop inside a step.
sub stop_in_housekeeping
{
	sql('keeper',
		q{SELECT job_queue.fault_arm('maintenance-housekeeping', 'wait', 0)});
	return;
}

sub is_stopped
{
	return $node->poll_query_until('keeper',
		q{SELECT waiting FROM job_queue.fault_points()
		   WHERE name = 'maintenance-housekeeping'}, '1');
}

sub go_on
{
	sql('keeper', 'SELECT job_queue.fault_disarm(NULL)');
	return;
}

sub log_count
{
	my ($pattern, $offset) = @_;
	my $log = substr(slurp_file($node->logfile), $offset);
	my @hits = $log =~ /$pattern/g;
	return scalar @hits;
}

# A server without the extension

isnt(process($launcher), 'none', 'the launcher runs');
$node->safe_psql('postgres', "CREATE DATABASE $_") foreach qw(alpha beta keeper);
workers_are('', 'no worker where there is no extension');

# CREATE and DROP EXTENSION

sql($_, 'CREATE EXTENSION job_queue') foreach qw(alpha beta keeper);
workers_are('alpha,beta,keeper', 'each database with the extension has a worker');
ok( $node->poll_query_until('postgres',
		"SELECT count(*) = 3 FROM pg_stat_activity
		  WHERE $maintenance AND state = 'idle'
			AND backend_xmin IS NULL AND xact_start IS NULL"),
	'idle workers have no transaction and no snapshot');
is( sql('postgres', "SELECT count(*) FROM pg_locks JOIN pg_stat_activity
					 USING (pid) WHERE $maintenance AND state = 'idle'"),
	'0', 'and no lock');

my $pid = worker_of('alpha');
sql('alpha', 'BEGIN', 'DROP EXTENSION job_queue CASCADE', 'ROLLBACK');
workers_are('alpha,beta,keeper', 'a rolled-back DROP EXTENSION changes nothing');
is(worker_of('alpha'), $pid, 'and the worker is the same');

sql('alpha', 'DROP EXTENSION job_queue CASCADE');
workers_are('beta,keeper', 'the worker leaves after DROP EXTENSION');

sql('alpha', 'BEGIN', 'CREATE EXTENSION job_queue', 'ROLLBACK');
sql('alpha', 'CREATE EXTENSION job_queue', 'DROP EXTENSION job_queue CASCADE',
	'CREATE EXTENSION job_queue');
workers_are('alpha,beta,keeper', 'create, drop, create');

sql('alpha', 'BEGIN', 'DROP EXTENSION job_queue CASCADE',
	'CREATE EXTENSION job_queue', 'COMMIT');
workers_are('alpha,beta,keeper', 'drop and create in one transaction');

sql('alpha', 'DROP EXTENSION job_queue CASCADE',
	'CREATE ROLE regress_owner SUPERUSER', 'SET ROLE regress_owner',
	'CREATE EXTENSION job_queue');
workers_are('alpha,beta,keeper', 'an extension of another owner');
sql('alpha', 'DROP OWNED BY regress_owner CASCADE');
workers_are('beta,keeper', 'the worker leaves after DROP OWNED');
sql('alpha', 'DROP ROLE regress_owner', 'CREATE EXTENSION job_queue');
workers_are('alpha,beta,keeper', 'and comes again');

sql('alpha', 'DROP EXTENSION job_queue CASCADE');
workers_are('beta,keeper', 'the worker leaves once more');
sql('alpha', 'BEGIN', 'CREATE EXTENSION job_queue', q{PREPARE TRANSACTION 'p'});
sql('alpha', q{COMMIT PREPARED 'p'});
workers_are('alpha,beta,keeper', 'COMMIT PREPARED of CREATE EXTENSION');

# Commands that need a database for themselves

sql('postgres', 'CREATE DATABASE gamma TEMPLATE alpha');
workers_are('alpha,beta,gamma,keeper',
	'a copy of a database has its own worker, and the original has one again');

sql('postgres', 'ALTER DATABASE gamma RENAME TO delta');
workers_are('alpha,beta,delta,keeper', 'a database is renamed');

sql('postgres', q{CREATE TABLESPACE regress_space LOCATION ''});
sql('postgres', 'ALTER DATABASE delta SET TABLESPACE regress_space');
workers_are('alpha,beta,delta,keeper', 'a database moves to a tablespace');
sql('postgres', 'ALTER DATABASE delta SET TABLESPACE pg_default');
sql('postgres', 'DROP TABLESPACE regress_space');

$node->psql('postgres', 'ALTER DATABASE delta RENAME TO alpha');
workers_are('alpha,beta,delta,keeper', 'the worker is back after an error');

$pid = worker_of('delta');
sql('postgres', 'CREATE ROLE regress_nobody LOGIN');
my ($rc, $out, $err) = $node->psql('postgres', 'DROP DATABASE delta',
	extra_params => [ '-U', 'regress_nobody' ]);
like($err, qr/must be owner/, 'others cannot drop a database');
is(worker_of('delta'), $pid, 'nor make its worker leave');

sql('postgres', 'ALTER DATABASE delta ALLOW_CONNECTIONS false');
workers_are('alpha,beta,keeper', 'the worker leaves a database that is closed');
sql('postgres', 'ALTER DATABASE delta ALLOW_CONNECTIONS true');
workers_are('alpha,beta,delta,keeper', 'and comes again');
sql('postgres', 'ALTER DATABASE delta CONNECTION LIMIT 0');
workers_are('alpha,beta,keeper', 'connection limit 0 is the same');
sql('postgres', 'ALTER DATABASE delta CONNECTION LIMIT -1');
workers_are('alpha,beta,delta,keeper', 'and lifting it');

sql('postgres', 'DROP DATABASE delta');
workers_are('alpha,beta,keeper', 'a database with an idle worker is dropped');

stop_in_housekeeping();
sql('postgres', 'CREATE DATABASE busy TEMPLATE template0');
sql('busy', 'CREATE EXTENSION job_queue');
ok(is_stopped(), 'a worker is busy');
sql('postgres', 'DROP DATABASE busy');
go_on();
workers_are('alpha,beta,keeper', 'a database with a busy worker is dropped');

sql('postgres', 'CREATE DATABASE forced TEMPLATE alpha');
workers_are('alpha,beta,forced,keeper', 'there is a database to drop by force');
my $session = $node->background_psql('forced');
$session->query_safe('BEGIN; LOCK TABLE job_queue.job');
sql('postgres', 'DROP DATABASE forced WITH (FORCE)');
eval { $session->quit };
workers_are('alpha,beta,keeper', 'a database is dropped by force');

# Settings of a database that are traps for who relies on them

sql('postgres', 'CREATE DATABASE trap TEMPLATE alpha');
sql('postgres', map { "ALTER DATABASE trap SET $_" } (
		q{role = 'regress_nobody'},
		q{session_authorization = 'regress_nobody'},
		q{search_path = 'nowhere'},
		q{statement_timeout = 1},
		q{default_transaction_read_only = on},
		q{default_transaction_isolation = 'serializable'},
		q{session_replication_role = 'replica'},
		q{synchronous_commit = off},
		q{enable_indexscan = off}));
my $offset = -s $node->logfile;
$pid = worker_of('trap');
sql('postgres', "SELECT pg_terminate_backend($pid, 60000)");
$pid = worker_of('trap', $pid);
ok(has_done_a_round($pid), 'a worker runs where the settings are traps');
is(log_count(qr/job_queue maintenance, /, $offset), 0, 'and none of its steps fails');
sql('postgres', 'DROP DATABASE trap', 'DROP ROLE regress_nobody');

# A step that fails

$offset = -s $node->logfile;
$pid = worker_of('beta');
sql('keeper', q{SELECT job_queue.fault_arm('maintenance-look', 'error', 0)},
	q{SELECT job_queue.advance_clock('2 min')});
ok($node->wait_for_log(qr/fault point "maintenance-look" was reached/, $offset),
	'a step fails');
sql('keeper', q{SELECT job_queue.fault_disarm(NULL)},
	q{SELECT job_queue.advance_clock('2 min')});
ok($node->wait_for_log(qr/looking for the extension: works again/, $offset),
	'it is tried again');
is(worker_of('beta'), $pid, 'the worker goes on');

stop_in_housekeeping();
sql('postgres', "SELECT pg_terminate_backend($pid, 60000)");
ok(is_stopped(), 'a worker is inside a step');
$pid = worker_of('beta');
sql('postgres', "SELECT pg_cancel_backend($pid)");
ok($node->wait_for_log(qr/canceling statement due to user request/, $offset),
	'the step can be cancelled');
is(worker_of('beta'), $pid, 'the worker cannot');
go_on();

# Cancelled, terminated, reloaded

my %before = map { $_ => worker_of($_) } qw(alpha beta keeper);
my $launcher_pid = process($launcher);
foreach (1 .. 20)
{
	sql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity
					  WHERE $launcher OR $maintenance");
	$node->reload if $_ % 5 == 0;
}
sql('postgres', 'CREATE DATABASE noticed TEMPLATE alpha');
workers_are('alpha,beta,keeper,noticed', 'after 20 cancels all goes on');
is(process($launcher), $launcher_pid, 'with the same launcher');
is(worker_of($_), $before{$_}, "and the same worker in $_") foreach qw(beta keeper);
sql('postgres', 'DROP DATABASE noticed');

my $came_back = 0;
my $worker_pid = worker_of('beta');
foreach (1 .. 20)
{
	sql('postgres', "SELECT pg_terminate_backend(pid, 60000)
					   FROM unnest(ARRAY[$launcher_pid, $worker_pid]) pid");
	$launcher_pid = process($launcher, $launcher_pid);
	$worker_pid = worker_of('beta', $worker_pid);
	last if $launcher_pid eq 'none' || $worker_pid eq 'none';

	# Only then is its record clean, and the next one not held back.
	$came_back++ if has_done_a_round($worker_pid);
}
is($came_back, 20, 'launcher and worker come back 20 times of 20');
workers_are('alpha,beta,keeper', 'and the others stayed');

# Shutdowns and crashes

$node->stop('fast');
$node->start;
workers_are('alpha,beta,keeper', 'workers come back after a fast shutdown');

stop_in_housekeeping();
$pid = worker_of('beta');
sql('postgres', "SELECT pg_terminate_backend($pid, 60000)");
ok(is_stopped(), 'a worker is busy');
$node->stop('fast');
$node->start;
workers_are('alpha,beta,keeper', 'a busy worker does not hold up a fast shutdown');

$node->stop('immediate');
$node->start;
workers_are('alpha,beta,keeper', 'workers come back after an immediate shutdown');

$pid = worker_of('beta');
kill 'KILL', $pid;
ok($node->poll_query_until('postgres', 'SELECT true'), 'the server restarts');
isnt(worker_of('beta', $pid), 'none', 'after a worker was killed');
workers_are('alpha,beta,keeper', 'all workers come back');

# A standby has no workers until it is promoted

$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
is( $standby->safe_psql('postgres',
		"SELECT count(*) FROM pg_stat_activity WHERE $launcher OR $maintenance"),
	'0', 'no workers on a standby');
$standby->promote;
ok( $standby->poll_query_until('postgres',
		"SELECT count(*) = 3 FROM pg_stat_activity WHERE $maintenance"),
	'all workers once it is promoted');
$standby->stop;

# Too few worker slots: one beside the launcher's

$node->append_conf('postgresql.conf', 'max_worker_processes = 2');
$offset = -s $node->logfile;
$node->restart;
ok($node->wait_for_log(qr/no free background worker slot/, $offset),
	'the log tells that there is no slot');
ok( $node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE $maintenance"),
	'the slot there is is used');

my $first = sql('postgres', "SELECT datname FROM pg_stat_activity WHERE $maintenance");
sql($first, 'DROP EXTENSION job_queue CASCADE');
ok( $node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity
		  WHERE $maintenance AND datname <> '$first'"),
	'a slot that becomes free is used');
cmp_ok(log_count(qr/no free background worker slot/, $offset), '<=', 2,
	'the log tells it once each time');
sql($first, 'CREATE EXTENSION job_queue');

$node->append_conf('postgresql.conf', 'max_worker_processes = 20');
$node->restart;
workers_are('alpha,beta,keeper', 'with more slots all have their workers');

# Too few entries: databases without the extension do not need one

$node->append_conf('postgresql.conf', 'job_queue.max_databases = 2');
sql('postgres', "CREATE DATABASE plain$_") foreach 1 .. 4;
$offset = -s $node->logfile;
$node->restart;
ok($node->wait_for_log(qr/no room for the job_queue maintenance/, $offset),
	'the log tells that there are too few entries');
ok( $node->poll_query_until('postgres',
		"SELECT count(*) = 2 FROM pg_stat_activity WHERE $maintenance"),
	'the entries there are are used');

my $third = sql('postgres', "SELECT datname FROM pg_database
							  WHERE datname IN ('alpha', 'beta', 'keeper')
								AND datname NOT IN (SELECT datname
									FROM pg_stat_activity WHERE $maintenance)");
my ($other) = grep { $_ ne $third } qw(alpha beta);
sql($other, 'DROP EXTENSION job_queue CASCADE');
isnt(worker_of($third), 'none', 'an entry that becomes free is used');

$node->stop;

# What nobody should ever see
my $log = slurp_file($node->logfile);
unlike($log, qr/PANIC|TRAP|WARNING:.*leak|XX000/, 'nothing odd in the log');
unlike($log, qr/FATAL:  database .* does not exist/, 'no worker for a database that is gone');

done_testing();
