# A waiter hears of a job the moment it can be claimed, whichever way it came,
# as many waiters as there are jobs, and none holds back vacuum meanwhile.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use JobQueueTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = preloaded_node('main', '');
my $timeout = $PostgreSQL::Test::Utils::timeout_default;
my @waiters = map { $node->background_psql('postgres', on_error_stop => 0) } 1 .. 3;
my $waiting = q{query LIKE 'CALL job_queue.wait_for_jobs%' AND state = 'active'};

sub sql
{
	return $node->safe_psql('postgres', join(";\n", @_));
}

# So many waiters are parked.
sub parked
{
	my ($count) = @_;
	return $node->poll_query_until('postgres',
		"SELECT count(*) = $count FROM pg_stat_activity WHERE $waiting AND wait_event_type = 'Extension'");
}

# Let one wait; it does not come back before answer().
sub wait_for_jobs
{
	my ($waiter, $before) = @_;

	$before = '' unless defined $before;
	$waiter->query_until(qr/waits/, "$before\n\\echo waits\nCALL job_queue.wait_for_jobs('q', '${timeout} s');\n");
	return;
}

# What it says at last, and whether before its timeout.
sub answer
{
	my ($waiter) = @_;
	my $started = time;
	my $answer = $waiter->query_safe('');

	$answer = "late" if time - $started > 3;
	return $answer;
}

# Somebody waits, something happens, there is a job.
sub wakes
{
	my ($what, $prepare, @deed) = @_;

	sql(q{SELECT job_queue.drop_queue('q', force => true)},
		q{SELECT job_queue.create_queue('q', backoff_base => '0', backoff_jitter => 0)}, @$prepare);
	wait_for_jobs($waiters[0]);
	parked(1) or die "nobody waits before $what";
	sql(@deed);
	is(answer($waiters[0]), 't', "$what wakes a waiter");
	is(sql(q{SELECT count(*) FROM job_queue.claim('q', 10)}), '1', "and there is a job to claim after $what");
	return;
}

my $lease = q{(SELECT id FROM job_queue.job WHERE state = 'r'), (SELECT lease_token FROM job_queue.job WHERE state = 'r')};
my $enqueue = q{SELECT job_queue.enqueue('q')};
my $claim = q{SELECT count(*) FROM job_queue.claim('q')};

wakes('an enqueue', [], $enqueue);
wakes('a transaction', [], 'BEGIN', $enqueue, 'SELECT 1', 'COMMIT');
wakes('enqueue_many', [], q{SELECT job_queue.enqueue_many('q', '{1}')});
wakes('a release', [ $enqueue, $claim ], "SELECT job_queue.release($lease)");
wakes('a failure that is retried', [ $enqueue, $claim ], "SELECT job_queue.fail($lease, 'x')");
wakes('a snooze', [ $enqueue, $claim ], "SELECT job_queue.snooze($lease, '0 s')");
wakes('the end of a lease', [ $enqueue, $claim ], q{SELECT job_queue.advance_clock('1 h')});
wakes('the time of a job', [q{SELECT job_queue.enqueue('q', delay => '1 h')}], q{SELECT job_queue.advance_clock('1 h')});
wakes('the real time of a job', [], q{SELECT job_queue.enqueue('q', delay => '100 ms')});
wakes('the end of a pause', [ $enqueue, q{SELECT job_queue.pause_queue('q')} ], q{SELECT job_queue.resume_queue('q')});
wakes('a retry', [ $enqueue, q{SELECT job_queue.cancel(id) FROM job_queue.job} ],
	q{SELECT job_queue.retry(max(id)) FROM job_queue.job_history});
wakes('COMMIT PREPARED', [ 'BEGIN', $enqueue, q{PREPARE TRANSACTION 'p'} ], q{COMMIT PREPARED 'p'});
wakes('ROLLBACK PREPARED of a claim', [ $enqueue, 'BEGIN', $claim, q{PREPARE TRANSACTION 'p'}, $claim ], q{ROLLBACK PREPARED 'p'});
wakes('an INSERT', [], q{
	INSERT INTO job_queue.job (enqueued_at, queue_id, enqueued_by, max_attempts, payload)
	SELECT now(), id, 'postgres', 3, '{}' FROM job_queue.queue WHERE name = 'q'});
wakes('an UPDATE', [q{SELECT job_queue.enqueue('q', delay => '1 h')}], 'UPDATE job_queue.job SET run_at = NULL');

# A rollback in another session gives back the job that all were waiting for.
my $worker = $node->background_psql('postgres');
sql($enqueue);
$worker->query_safe("BEGIN; $claim");
wait_for_jobs($waiters[0]);
ok(parked(1), 'a claimed job is waited for');
$worker->query_safe('ROLLBACK');
is(answer($waiters[0]), 't', 'a claim that is rolled back wakes a waiter');
is(sql($claim), '1', 'and there is a job to claim');
$worker->quit;

# Nothing is held while waiting outside a transaction block.
wait_for_jobs($_) foreach @waiters;
ok(parked(3), 'three wait');
is( sql("SELECT count(backend_xmin), count(backend_xid) FROM pg_stat_activity WHERE $waiting"),
	'0|0', 'they hold no snapshot and no transaction');
is( sql("SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE $waiting AND locktype <> 'virtualxid'"),
	'0', 'and no locks');

# As many wake up as there are jobs.
sql($enqueue);
ok(parked(2), 'one job wakes one of them');
sql(q{SELECT job_queue.enqueue_many('q', '{1,2}')});
ok(parked(0), 'two more jobs wake the two others');
is(join('', map { answer($_) } @waiters), 'ttt', 'all of them were told of a job');
is(sql(q{SELECT count(*) FROM job_queue.claim('q', 10)}), '3', 'and there is one for each');

# Jobs of other queues are none of their business.
wait_for_jobs($waiters[0]);
ok(parked(1), 'one waits');
sql(q{SELECT job_queue.enqueue('other')});
is(sql("SELECT count(*) FROM pg_stat_activity WHERE $waiting"), '1', 'a job of another queue wakes nobody');
sql($enqueue);
is(answer($waiters[0]), 't', 'it is told of its own');
sql($claim);

# In a transaction block one can wait as well, and be cancelled.
wait_for_jobs($waiters[0], 'BEGIN;');
ok(parked(1), 'one waits in a transaction block');
sql($enqueue);
is(answer($waiters[0]), 't', 'it is told too');
$waiters[0]->query_safe('COMMIT');
sql($claim);
wait_for_jobs($waiters[0]);
ok(parked(1), 'one waits');
sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE $waiting");
my ($output, $failed) = $waiters[0]->query('');
ok($failed, 'a waiter can be cancelled');
$waiters[0]->{stderr} = '';
sql($enqueue);
is($waiters[1]->query_safe("CALL job_queue.wait_for_jobs('q', '$timeout s')"),
	't', 'the job is for those that wait after it');
sql($claim);

# A waiter that is killed leaves its place in the line.
wait_for_jobs($waiters[1]);
ok(parked(1), 'one waits');
sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE $waiting");
ok(parked(0), 'it is gone');
wait_for_jobs($waiters[2]);
ok(parked(1), 'another one waits');
sql($enqueue);
is(answer($waiters[2]), 't', 'and is told of the next job');

# Queues and servers come to an end under a waiter.
sql($claim);
wait_for_jobs($waiters[2]);
ok(parked(1), 'one waits');
sql(q{SELECT job_queue.drop_queue('q', force => true)}, $enqueue);
($output, $failed) = $waiters[2]->query('');
ok($failed || $output eq 't', 'a queue that is dropped and made again is no trap for who waits');
$waiters[2]->{stderr} = '';
sql(q{SELECT count(*) FROM job_queue.claim('q', 10)});
wait_for_jobs($waiters[2]);
ok(parked(1), 'one waits');
my $started = time;
$node->stop('fast');
cmp_ok(time - $started, '<', 10, 'a fast shutdown does not wait for those that wait');

eval { $_->quit } foreach @waiters;
done_testing();
