# Recovery under bad luck: more leases than fit, rows that an administrator has
# locked, jobs that become due while somebody scans.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use JobQueueTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = preloaded_node('main', q{
job_queue.max_leases = 64
});

sub sql
{
	return $node->safe_psql('postgres', join(";\n", @_));
}

sub becomes
{
	my ($query, $expected, $name) = @_;
	return ok($node->poll_query_until('postgres', $query, $expected), $name);
}

sub fresh_queue
{
	my ($jobs, @settings) = @_;
	sql(q{SELECT job_queue.drop_queue('q', force => true)},
		'SELECT job_queue.create_queue(' . join(', ', q{'q'}, q{backoff_base => '0'}, q{backoff_jitter => 0}, @settings) . ')',
		"SELECT count(*) FROM job_queue.enqueue_many('q', array_fill('{}'::jsonb, '{$jobs}'))");
	return;
}

my $by_status = q{SELECT string_agg(status || ' ' || n, ', ' ORDER BY status)
	FROM (SELECT status, count(*) AS n FROM job_queue.jobs WHERE queue = 'q' GROUP BY status) s};

# More running jobs than there is room for: each has its lease all the same.
fresh_queue(500, q{lease => '5 min'});
sql(q{CREATE TABLE lease AS SELECT job_id, lease_token AS token FROM job_queue.claim('q', 500)});
is(sql(q{SELECT count(*) FROM lease WHERE job_queue.heartbeat(job_id, token) = 'held'}), '500', 'five hundred leases, sixty-four places');
sql(q{SELECT job_queue.advance_clock('4 min')},
	q{CREATE TABLE alive AS SELECT * FROM lease WHERE job_id % 2 = 0});
foreach my $time (1 .. 5)
{
	sql(q{SELECT count(job_queue.heartbeat(job_id, token)) FROM alive},
		q{SELECT job_queue.advance_clock('30 s')});
}
becomes($by_status, 'ready 250, running 250', 'who does not beat is recovered, who does is not');
is(sql(q{SELECT count(*) FROM alive WHERE job_queue.report_progress(job_id, token, 50) = 'held'}), '250', 'progress is reported');
sql(q{SELECT job_queue.cancel(job_id) FROM alive});
is(sql(q{SELECT count(*) FROM alive WHERE job_queue.heartbeat(job_id, token) = 'cancel_requested'}), '250', 'all can be asked to stop');
is(sql(q{SELECT count(*) FROM alive WHERE job_queue.complete(job_id, token)}), '250', 'and complete');
$node->restart;
is(sql($by_status), 'completed 250, ready 250', 'after a restart everything is as it was');
sql(q{DROP TABLE alive, lease});

# Rows that somebody has locked: the others are recovered meanwhile.
fresh_queue(1200, q{lease => '5 min'});
sql(q{SELECT count(*) FROM job_queue.claim('q', 1200)});
my $admin = $node->background_psql('postgres');
$admin->query_safe(q{
	BEGIN;
	SELECT count(*) FROM (SELECT FROM job_queue.job ORDER BY id LIMIT 1000 FOR UPDATE) locked});
sql(q{SELECT job_queue.advance_clock('6 min')});
becomes($by_status, 'ready 200, running 1000', 'a thousand locked rows do not keep two hundred others from being recovered');
fresh_scheduled();
$admin->query_safe('COMMIT');
becomes($by_status, 'ready 1201', 'without the locks they are recovered too');

# The worker does its other work meanwhile.
sub fresh_scheduled
{
	sql(q{SELECT job_queue.enqueue('q', '"due"', priority => -1, delay => '1 min')}, q{SELECT job_queue.advance_clock('1 min')});
	becomes(q{WITH c AS (SELECT * FROM job_queue.claim('q') WHERE payload = '"due"') SELECT job_queue.release(job_id, lease_token) IS NULL FROM c},
		'f', 'a job that is due comes meanwhile');
	return;
}
$admin->quit;

# A job that becomes due while somebody scans, and somebody else waits for that.
fresh_queue(3, q{lease => '1 day'});
my @claimers = map { $node->background_psql('postgres') } 1 .. 2;
sql(q{CREATE TABLE got (job_id bigint)},
	q{SELECT job_queue.enqueue('q', '"due"', delay => '1 h')},
	'VACUUM FULL job_queue.job',
	q{SELECT job_queue.fault_arm('refill-during-scan', 'wait')});
$_->query_until(qr/claims/, "\\echo claims\nINSERT INTO got SELECT job_id FROM job_queue.claim('q', 10);\n") foreach @claimers;
becomes(q{SELECT max(waiting) FROM job_queue.fault_points()}, '1', 'one scans');
sql(q{SELECT job_queue.advance_clock('1 h')});
becomes(q{SELECT state FROM pg_stat_activity WHERE backend_type = 'job_queue maintenance' AND wait_event_type = 'Extension'}, 'idle',
	'the worker has moved what is due');
sql('SELECT job_queue.fault_disarm()');
$_->query_safe('') foreach @claimers;
becomes(q{WITH c AS (INSERT INTO got SELECT job_id FROM job_queue.claim('q', 10) RETURNING 1)
		  SELECT (SELECT count(*) FROM got) + (SELECT count(*) FROM c) = 4}, 't',
	'a job that became due under a scan is claimed');
is(sql('SELECT count(DISTINCT job_id) FROM got'), '4', 'and none twice');
$_->quit foreach @claimers;

# Reports of progress that cannot be written do not keep the worker busy.
fresh_queue(300, q{lease => '1 day'});
sql(q{CREATE TABLE lease AS SELECT job_id, lease_token AS token FROM job_queue.claim('q', 300)});
# (of those that are in shared memory: the others would wait for the row)
sql(q{CREATE TABLE listed AS SELECT l.* FROM lease l, job_queue._live(l.job_id, l.token)});
isnt(sql('SELECT count(*) FROM listed'), '0', 'some leases are in shared memory');
$admin = $node->background_psql('postgres');
$admin->query_safe('BEGIN; SELECT count(*) FROM (SELECT FROM job_queue.job FOR UPDATE) locked');
sql(q{SET statement_timeout = '10 s'},
	q{SELECT count(job_queue.report_progress(job_id, token, 50)) FROM listed});
sql(q{SELECT job_queue.enqueue('q', '"due"', delay => '1 min')}, q{SELECT job_queue.advance_clock('1 min')});
becomes(q{SELECT count(*) = 1 FROM job_queue.claim('q')}, 't', 'a job that is due comes while progress cannot be written');
$admin->query_safe('COMMIT');
$admin->quit;

is_healthy($node, 'after all that');
$node->stop;
done_testing();
