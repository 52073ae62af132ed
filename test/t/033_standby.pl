# A hot standby answers questions and refuses work; promoted, it is a queue
# like any other, and what it has not heard of is not believed.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use JobQueueTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = preloaded_node('primary', '', allows_streaming => 1);
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

$primary->safe_psql('postgres', q{
	SELECT job_queue.create_queue('q', max_attempts => 3);
	SELECT count(*) FROM job_queue.enqueue_many('q', '{"1", "2", "3", "4", "5"}');
	SELECT job_queue.enqueue('q', '"later"', delay => '1 h')});
my ($done, $done_token) = split /\|/,
  $primary->safe_psql('postgres', q{SELECT job_id, lease_token FROM job_queue.claim('q')});
my ($running, $token) = split /\|/,
  $primary->safe_psql('postgres', q{SELECT job_id, lease_token FROM job_queue.claim('q', worker => 'w')});
$primary->safe_psql('postgres', qq{
	SELECT job_queue.complete($done, $done_token, '"done"');
	SELECT job_queue.checkpoint($running, $token, 's', '1', 10)});
# By its row the lease of this one ended long ago: heartbeats are not in it.
my ($alive, $alive_token) = split /\|/, (split /\n/, $primary->safe_psql('postgres', q{
	SELECT FROM job_queue.advance_clock('-1 h');
	SELECT FROM job_queue.create_queue('alive', lease => '6 s');
	SELECT FROM job_queue.enqueue('alive');
	SELECT job_id, lease_token FROM job_queue.claim('alive')}))[-1];
$primary->wait_for_catchup($standby);

# Questions
is( $standby->safe_psql('postgres', q{SELECT payload, status FROM job_queue.jobs WHERE queue = 'q' ORDER BY job_id}),
	"1|completed\n2|running\n3|ready\n4|ready\n5|ready\n\"later\"|scheduled", 'view jobs');
is($standby->safe_psql('postgres', q{SELECT ready, scheduled, running FROM job_queue.queues WHERE name = 'q'}), '3|1|1', 'view queues');
is($standby->safe_psql('postgres', "SELECT result FROM job_queue.get_job($done)"), '"done"', 'get_job');
is($standby->safe_psql('postgres', "SELECT job_queue.get_checkpoint($running, 's')"), '1', 'get_checkpoint');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM job_queue.history(queue => 'q')}), '1', 'history');
is($standby->safe_psql('postgres', "SELECT job_queue.is_job_stale($running)"), 'f', 'is_job_stale');
is($standby->safe_psql('postgres', "SELECT count(*) FROM job_queue.$_->[0] JOIN job_queue.jobs j USING (job_id) WHERE j.queue = 'q'"), $_->[1], "view $_->[0]")
  foreach [ 'running_jobs', 1 ], [ 'stalled_jobs', 0 ], [ 'attempts', 0 ], [ 'stages', 1 ];
is($standby->safe_psql('postgres', 'SELECT * FROM job_queue.verify()'), '', 'verify');

# Work
foreach my $call (
	q{SELECT job_queue.enqueue('q')},
	q{SELECT job_queue.enqueue('other')},
	q{SELECT job_queue.enqueue('q', unique_key => 'k')},
	q{SELECT count(*) FROM job_queue.enqueue_many('q', '{"1"}')},
	q{SELECT * FROM job_queue.enqueue_jobs('[{"queue": "q"}]')},
	q{SELECT * FROM job_queue.claim('q')},
	q{SELECT * FROM job_queue.complete_and_claim('q', '{}', '{}')},
	"SELECT job_queue.heartbeat($running, $token)",
	"SELECT * FROM job_queue.heartbeat_many('{$running}', '{$token}')",
	"SELECT job_queue.report_progress($running, $token, 50)",
	"SELECT job_queue.begin_stage($running, $token, 't')",
	"SELECT job_queue.checkpoint($running, $token, 't')",
	"SELECT job_queue.complete($running, $token)",
	"SELECT * FROM job_queue.complete_many('{$running}', '{$token}')",
	"SELECT job_queue.fail($running, $token, 'x')",
	"SELECT job_queue.snooze($running, $token, '1 s')",
	"SELECT job_queue.release($running, $token)",
	"SELECT job_queue.assert_lease($running, $token)",
	"SELECT job_queue.cancel($running)",
	"SELECT job_queue.retry($done)",
	q{SELECT job_queue.create_queue('other')},
	q{SELECT job_queue.alter_queue('q', lease => '1 min')},
	q{SELECT job_queue.pause_queue('q')},
	q{SELECT job_queue.purge_queue('q')},
	q{SELECT job_queue.drop_queue('q', force => true)},
	q{CALL job_queue.wait_for_jobs('q', '0 s')},
	'SELECT * FROM job_queue.recover_stalled()')
{
	my ($rc, $out, $err) = $standby->psql('postgres', "\\set VERBOSITY sqlstate\n$call");

	like($err, qr/^psql:<stdin>:\d+: ERROR:  25006$/m, "25006: $call");
}
is( $standby->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'job_queue maintenance'}),
	'0', 'no maintenance worker runs on a standby');

# Promotion, with the last claim and the last completion not heard of
$standby->stop;
my ($unheard, $unheard_token) = split /\|/,
  $primary->safe_psql('postgres', q{SELECT job_id, lease_token FROM job_queue.claim('q')});
$primary->safe_psql('postgres', "SELECT job_queue.complete($running, $token, '\"old side\"')");
$primary->stop('immediate');
$standby->append_conf('postgresql.conf', "primary_conninfo = ''");
$standby->start;
ok( $standby->poll_query_until('postgres', q{SELECT pg_postmaster_start_time() < clock_timestamp() - interval '7 s'}),
	'the standby is up for longer than the lease of who is still alive');
$standby->promote;

ok( $standby->poll_query_until('postgres', q{
		SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'job_queue maintenance'}),
	'a promoted standby starts its workers');
is($standby->safe_psql('postgres', "SELECT job_queue.run_maintenance() IS NULL, job_queue.heartbeat($alive, $alive_token)"),
	'f|held', 'leases count from the promotion, so nobody who is alive is robbed');
is($standby->safe_psql('postgres', "SELECT status FROM job_queue.get_job($running)"),
	'running', 'a completion that was not heard of has not happened');
is($standby->safe_psql('postgres', "SELECT job_queue.heartbeat($running, $token)"),
	'held', 'a lease that was heard of goes on');
is($standby->safe_psql('postgres', "SELECT job_queue.complete($running, $token, '\"new side\"')"),
	't', 'and completes here');
my ($rc, $out, $err) =
  $standby->psql('postgres', "\\set VERBOSITY sqlstate\nSELECT job_queue.complete($unheard, $unheard_token)");
like($err, qr/JQ001/, 'a claim that was not heard of is refused');
my ($again, $attempt, $other_token) = split /\|/,
  $standby->safe_psql('postgres', q{SELECT job_id, attempt, lease_token FROM job_queue.claim('q')});
is("$again $attempt", "$unheard 1", 'its job is claimed again, as the first attempt');
($rc, $out, $err) =
  $standby->psql('postgres', "\\set VERBOSITY sqlstate\nSELECT job_queue.complete($unheard, $unheard_token)");
like($err, qr/JQ001/, 'and then the worker of the old side is refused, attempt number or not');
is($standby->safe_psql('postgres', "SELECT job_queue.complete($again, $other_token)"), 't', 'but not that of the new');

is($standby->safe_psql('postgres', q{SELECT payload FROM job_queue.claim('q', 10)}), "4\n5", 'the other jobs are claimed');
$standby->safe_psql('postgres', q{SELECT job_queue.advance_clock('2 h')});
ok( $standby->poll_query_until('postgres', q{
		SELECT count(*) = 3 FROM job_queue.jobs WHERE queue = 'q' AND status = 'ready'}),
	'what is due and what is lost comes again');
is_healthy($standby, 'after promotion');

$standby->stop;
done_testing();
