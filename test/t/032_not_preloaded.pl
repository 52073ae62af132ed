# Without the library in shared_preload_libraries jobs are kept, read, dumped
# and restored; what needs shared memory says what is missing.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use JobQueueTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;
my $dir = PostgreSQL::Test::Utils::tempdir;

$node->safe_psql('postgres', 'CREATE EXTENSION job_queue');
is( $node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'job_queue%'}),
	'0', 'there are no workers');

# What works
is($node->safe_psql('postgres', q{SELECT job_queue.create_queue('q')}), 't', 'create_queue');
is($node->safe_psql('postgres', q{SELECT job_queue.enqueue('q', '1') > 0}), 't', 'enqueue');
is($node->safe_psql('postgres', q{SELECT count(*) FROM job_queue.enqueue_many('q', '{"2", "3"}')}), '2', 'enqueue_many');
is( $node->safe_psql('postgres', q{SELECT count(*) FROM job_queue.enqueue_jobs('[{"queue": "q", "payload": 4, "priority": -1},
		{"queue": "q", "payload": 5, "delay": "1 h"}]')}),
	'2', 'enqueue_jobs');
is($node->safe_psql('postgres', q{SELECT job_queue.enqueue('q', '6', unique_key => 'k') = job_queue.enqueue('q', unique_key => 'k')}),
	't', 'unique keys');
is( $node->safe_psql('postgres', q{SELECT payload, status FROM job_queue.jobs ORDER BY job_id}),
	"1|ready\n2|ready\n3|ready\n4|ready\n5|scheduled\n6|ready", 'view jobs');
is($node->safe_psql('postgres', q{SELECT ready, scheduled, running FROM job_queue.queues}), '5|1|0', 'view queues');
is( $node->safe_psql('postgres', q{SELECT g.payload FROM job_queue.jobs j, job_queue.get_job(j.job_id) g WHERE j.payload = '4'}),
	'4', 'get_job');
is($node->safe_psql('postgres', "SELECT count(*) FROM job_queue.$_"), '0', "view $_")
  foreach qw(running_jobs stalled_jobs failed_jobs attempts stages);
is($node->safe_psql('postgres', 'SELECT count(*) FROM job_queue.history()'), '0', 'history');
is($node->safe_psql('postgres', 'SELECT * FROM job_queue.verify()'), '', 'verify');
is($node->safe_psql('postgres', q{SELECT job_queue.clock() - clock_timestamp() < '1 min'}), 't', 'clock');

# What does not
foreach my $call (
	q{SELECT * FROM job_queue.claim('q')},
	q{CALL job_queue.wait_for_jobs('q', '0 s')},
	q{SELECT job_queue.heartbeat(1, 1)},
	q{SELECT * FROM job_queue.heartbeat_many('{1}', '{1}')},
	q{SELECT job_queue.report_progress(1, 1, 1)},
	q{SELECT * FROM job_queue.complete_and_claim('q', '{}', '{}')})
{
	my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$call");

	like($err, qr/ERROR:  JQ010: .*\n(?:DETAIL:.*\n)?HINT:.*shared_preload_libraries/, $call);
}
my ($rc, $out, $err) = $node->psql('postgres', q{SELECT job_queue.advance_clock('1 h')});
isnt($rc, 0, 'the clock cannot be moved');

# Dump and restore
$node->command_ok([ 'pg_dump', '-Fc', '-d', $node->connstr('postgres'), '-f', "$dir/dump" ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE template0');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('copy'), "$dir/dump" ], 'pg_restore');
is($node->safe_psql('copy', q{SELECT count(*) FROM job_queue.jobs}), '6', 'every job is there');

# Once the library is preloaded, everything that waited is claimed.
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'job_queue'");
$node->restart;
foreach my $database (qw(postgres copy))
{
	is( $node->safe_psql($database, q{SELECT payload FROM job_queue.claim('q', 10)}),
		"4\n1\n2\n3\n6", "$database: what waited is claimed, in order");
}
is( $node->safe_psql('postgres', q{SELECT count(*) FROM job_queue.running_jobs}),
	'5', 'five jobs run');

# And when it is taken away again, who runs a job can still complete it.
my ($id, $token) = split /\|/,
  $node->safe_psql('postgres', q{SELECT id, lease_token FROM job_queue.job WHERE state = 'r' ORDER BY id LIMIT 1});
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', undef);
$node->restart;
is($node->safe_psql('postgres', q{SELECT count(*) FROM job_queue.jobs WHERE status = 'running'}), '5', 'they still do');
($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY sqlstate\nSELECT job_queue.heartbeat($id, $token)");
like($err, qr/JQ010/, 'without the library they have no heartbeat');
($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY sqlstate\nSELECT job_queue.complete($id, 1)");
like($err, qr/JQ001/, 'a wrong token is a wrong token');
is($node->safe_psql('postgres', "SELECT job_queue.complete($id, $token)"), 't', 'the right one completes');
is($node->safe_psql('postgres', "SELECT status FROM job_queue.get_job($id)"), 'completed', 'as everybody can see');
$node->safe_psql('postgres', 'DROP EXTENSION job_queue');
is($node->safe_psql('postgres', q{SELECT to_regnamespace('job_queue') IS NULL}), 't', 'DROP EXTENSION');

unlike(slurp_file($node->logfile), qr/PANIC|TRAP:| XX\d\d\d|leaked|terminated by signal/, 'the log is clean');
$node->stop;
done_testing();
