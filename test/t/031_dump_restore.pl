# A dump keeps every job, in whatever state; in the restored database running
# jobs have nobody's lease.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use JobQueueTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = preloaded_node('main', '');
my $dir = PostgreSQL::Test::Utils::tempdir;

# Jobs in every state, with names that are no friends of a dump.
$node->safe_psql('postgres', <<'SQL');
	SELECT job_queue.define_pipeline(E'a "pipe"\nline', ARRAY['one', E'it''s\n"two"'], keep_from => 'one');
	SELECT job_queue.create_queue(E'it''s a "queue"\nwith \\ all', lease => '7 min', backoff_base => '3 s', max_depth => 1000);
	SELECT job_queue.create_queue('paused');
	SELECT job_queue.pause_queue('paused');
	SELECT job_queue.enqueue('paused');
	CREATE TABLE lease AS
	SELECT state, job_queue.enqueue(E'it''s a "queue"\nwith \\ all', to_jsonb(state || E'\n\t\\."'), E'a\n''type''',
			unique_key => state || E'\n\\N', user_id => E'\\.', metadata => '{"a": "\\n"}',
			pipeline => E'a "pipe"\nline') AS job_id, NULL::bigint AS token
	  FROM unnest('{running,completed,failed,cancelled,retrying,ready,scheduled}'::text[]) state;
	UPDATE lease SET token = c.lease_token
	  FROM job_queue.claim(E'it''s a "queue"\nwith \\ all', 5, E'worker\n''1''') c WHERE c.job_id = lease.job_id;
	SELECT job_queue.checkpoint(job_id, token, E'it''s\n"two"', '{"state": "\\\\"}') FROM lease WHERE token IS NOT NULL;
	SELECT job_queue.report_progress(job_id, token, 42, E'half\n\\way') FROM lease WHERE state = 'running';
	SELECT job_queue.complete(job_id, token, '"\\t"') FROM lease WHERE state = 'completed';
	SELECT job_queue.fail(job_id, token, E'bad\n\\.', 'E', retryable => false, details => '[1]') FROM lease WHERE state = 'failed';
	SELECT job_queue.fail(job_id, token, 'again', retry_in => '1 day') FROM lease WHERE state = 'retrying';
	SELECT job_queue.cancel(job_id, 'why'), job_queue.release(job_id, token) FROM lease WHERE state = 'cancelled';
	UPDATE job_queue.job SET run_at = job_queue.clock() + interval '1 day' WHERE id = (SELECT job_id FROM lease WHERE state = 'scheduled');
	SELECT job_queue.run_maintenance();
SQL

# Jobs of a status, in all that does not depend on the moment.
sub jobs
{
	my ($database, $status) = @_;
	return $node->safe_psql($database, qq{
		SELECT job_id, queue, job_type, priority, attempt, max_attempts, progress, stage, message, payload, metadata,
			   result, error_code, error_message, error_details, unique_key, user_id, enqueued_by, pipeline, worker,
			   enqueued_at, run_at, started_at, finished_at
		  FROM job_queue.jobs WHERE status = '$status' ORDER BY job_id});
}

my $details = q{
	SELECT * FROM job_queue.attempts WHERE job_id IN (SELECT job_id FROM lease WHERE state <> 'running') ORDER BY job_id, attempt;
	SELECT * FROM job_queue.stages ORDER BY job_id, position;
	SELECT name, paused, lease, backoff_base, max_depth FROM job_queue.queues ORDER BY name;
	SELECT * FROM job_queue.pipeline};

sub dump_with
{
	my ($database, @options) = @_;
	$node->command_ok([ 'pg_dump', '-d', $node->connstr($database), @options ], "pg_dump @options");
	return;
}

# Everything is in the restored database as it was, but for the running job.
sub check_restored
{
	my ($how) = @_;
	my ($id, $token) = split /\|/,
	  $node->safe_psql($how, q{SELECT job_id, token FROM lease WHERE state = 'running'});

	ok( $node->poll_query_until($how, "SELECT status <> 'running' FROM job_queue.get_job($id)"),
		"$how: a running job comes back as expired");
	foreach my $status (qw(completed failed cancelled scheduled))
	{
		is(jobs($how, $status), jobs('postgres', $status), "$how: what is $status is the same");
	}
	is($node->safe_psql($how, $details), $node->safe_psql('postgres', $details), "$how: details are the same");
	is($node->safe_psql($how, 'SELECT * FROM job_queue.verify()'), '', "$how: the invariants hold");

	my ($rc, $out, $err) = $node->psql($how,
		"\\set VERBOSITY sqlstate\nSELECT job_queue.complete($id, $token)");
	like($err, qr/JQ001/, "$how: the token from before the dump is worth nothing");
	is( $node->safe_psql($how, <<'SQL'),
SELECT l.state, c.attempt, c.completed_stages[1] = E'it''s\n"two"'
  FROM job_queue.claim(E'it''s a "queue"\nwith \\ all', 10) c JOIN lease l USING (job_id) ORDER BY l.state
SQL
		"ready|1|\nrunning|2|t", "$how: it is claimed again, with its stages, and so is what was ready");
	is($node->safe_psql($how, q{SELECT count(*) FROM job_queue.claim('paused')}),
		'0', "$how: a paused queue is paused");
	is( $node->safe_psql($how, q{SELECT job_queue.enqueue('new') > max(job_id) FROM lease}),
		't', "$how: new jobs get new ids");
	is($node->safe_psql($how, q{SELECT count(*) FROM job_queue.claim('new')}), '1', "$how: and are claimed");
	return;
}

foreach my $status (qw(running completed failed cancelled ready scheduled))
{
	isnt(jobs('postgres', $status), '', "there is a job that is $status");
}

dump_with('postgres', '--format=custom', "--file=$dir/custom");
dump_with('postgres', '--format=directory', '--jobs=2', "--file=$dir/directory");
dump_with('postgres', '--format=plain', "--file=$dir/plain");
dump_with('postgres', '--format=plain', '--inserts', "--file=$dir/inserts");

my @psql = ('psql', '-XAtq', '-v', 'ON_ERROR_STOP=1');
my %restore = (
	custom => [ 'pg_restore', '--exit-on-error', '-d', $node->connstr('custom'), "$dir/custom" ],
	directory => [ 'pg_restore', '--exit-on-error', '--jobs=2', '-d', $node->connstr('directory'), "$dir/directory" ],
	plain => [ @psql, '-d', $node->connstr('plain'), '-f', "$dir/plain" ],
	inserts => [ @psql, '-d', $node->connstr('inserts'), '-f', "$dir/inserts" ]);

foreach my $how (sort keys %restore)
{
	$node->safe_psql('postgres', "CREATE DATABASE $how TEMPLATE template0");
	ok($node->run_log($restore{$how}), "$how: restored") or next;
	# with partitions made anew it may be dumped and restored once more
	if ($how eq 'custom')
	{
		dump_with('custom', '--format=custom', "--file=$dir/twice");
		$node->safe_psql('postgres', 'CREATE DATABASE twice TEMPLATE template0');
		$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('twice'), "$dir/twice" ],
			'twice: restored');
		check_restored('twice');
	}
	check_restored($how);
}

$node->stop;
done_testing();
