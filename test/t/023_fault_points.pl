# A process that fails, leaves or is killed at any step of its work leaves
# every job where it was, for the next to go on.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use JobQueueTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = preloaded_node('main', '');

sub sql
{
	return $node->safe_psql('postgres', join(";\n", @_));
}

# Until the server answers again after one of its processes was killed.
sub wait_for_server
{
	$node->poll_query_until('postgres', 'SELECT true') or BAIL_OUT('the server does not answer');
	return;
}

# A queue with one waiting and one running job; tells the lease of the latter.
sub fresh_queue
{
	return split /\|/, sql(
		q{SELECT FROM job_queue.fault_disarm()},
		q{SELECT FROM job_queue.drop_queue('q', force => true)},
		q{SELECT FROM job_queue.create_queue('q', lease => '1 h', backoff_base => '0', backoff_jitter => 0)},
		q{SELECT FROM job_queue.enqueue_many('q', '{"1", "2"}')},
		q{SELECT job_id, lease_token FROM job_queue.claim('q')});
}

my $jobs = q{SELECT string_agg(payload::text || ' ' || status || ' ' || attempt, ', ' ORDER BY job_id)
			   FROM job_queue.jobs WHERE queue = 'q'};

# In a session

my @calls = (
	[ 'enqueue-before-insert', q{SELECT job_queue.enqueue('q')} ],
	[ 'enqueue-after-insert', q{SELECT job_queue.enqueue_many('q', '{"3", "4"}')} ],
	[ 'claim-after-pop', q{SELECT * FROM job_queue.claim('q')} ],
	[ 'claim-before-update', q{SELECT * FROM job_queue.claim('q')} ],
	[ 'claim-after-update', q{SELECT * FROM job_queue.claim('q')} ],
	[ 'complete-before-delete', q{SELECT job_queue.complete(%s, %s)} ],
	[ 'complete-after-delete', q{SELECT job_queue.complete(%s, %s)} ],
	[ 'complete-after-delete', q{SELECT * FROM job_queue.complete_and_claim('q', ARRAY[%s], ARRAY[%s])} ],
	[ 'claim-after-update', q{SELECT * FROM job_queue.complete_and_claim('q', ARRAY[%s], ARRAY[%s])} ],
	[ 'xact-precommit', q{SELECT job_queue.enqueue('q')} ],
	[ 'xact-precommit', q{SELECT * FROM job_queue.claim('q')} ],
	[ 'xact-precommit', q{SELECT job_queue.complete(%s, %s)} ]);

foreach my $action (qw(exit kill))
{
	foreach my $case (@calls)
	{
		my ($point, $call) = @$case;
		my ($id, $token) = fresh_queue();
		my ($rc, $out, $err);
		my $name = "$action at $point";
		# nobody could connect while every commit fails
		my $keeper = $action eq 'exit' ? $node->background_psql('postgres') : undef;

		$call = sprintf $call, ($id, $token)[ 0 .. ($call =~ tr/%//) - 1 ];
		# a rollback does not reach the commit, but arms the point
		($rc, $out, $err) = $node->psql('postgres', "
			BEGIN;
			SELECT FROM job_queue.fault_arm('$point', '$action');
			ROLLBACK;
			$call");
		isnt($rc, 0, "$name: the session is gone");
		if ($keeper)
		{
			$keeper->query_safe('BEGIN; SELECT FROM job_queue.fault_disarm(); ROLLBACK');
			$keeper->quit;
		}
		wait_for_server();
		is(sql($jobs), '1 running 1, 2 ready 0', "$name: the jobs are as they were");
		is( sql("SELECT job_queue.complete($id, $token)", q{SELECT payload, attempt FROM job_queue.claim('q', 10)}),
			"t\n2|1", "$name: one is completed, and the other one claimed");
	}
}

# In the maintenance worker

sql('CREATE TABLE got (payload jsonb, attempt int)');

# Move the time to when every lease has ended and every job is due.
my $everything_is_due = q{
	SELECT FROM (SELECT job_queue.advance_clock(max(greatest(run_at, lease_expires_at)) - job_queue.clock() + interval '2 h')
				   FROM job_queue.job) j};
my @points = qw(maintenance-due due-before-scan maintenance-reap reap-before reap-after
  maintenance-flush maintenance-housekeeping);

foreach my $action (qw(error exit kill))
{
	foreach my $point (@points)
	{
		my $name = "worker, $action at $point";
		my ($id, $token) = fresh_queue();

		# something to do for each of its steps
		sql(q{SELECT FROM job_queue.enqueue('q', '3', delay => '1 h')},
			"SELECT FROM job_queue.report_progress($id, $token, 50)",
			"SELECT FROM job_queue.fault_arm('$point', '$action')");
		$node->psql('postgres', $everything_is_due);
		if ($action eq 'kill')
		{
			# the restart disarms the points
			ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM job_queue.fault_points()'),
				"$name: the worker is killed");
			# and puts the clock right, and leases count from it
			sql($everything_is_due);
		}
		else
		{
			ok($node->poll_query_until('postgres', "SELECT hits > 0 FROM job_queue.fault_points() WHERE name = '$point'"),
				"$name: the worker comes there");
			sql('SELECT FROM job_queue.fault_disarm()');
		}
		ok($node->poll_query_until('postgres', $jobs, '1 ready 1, 2 ready 0, 3 ready 0'),
			"$name: what was stalled or due is ready in the end");
		is(sql("SELECT count(*) FROM job_queue.attempts WHERE job_id = $id"), '1', "$name: one attempt was lost, once");
		ok($node->poll_query_until('postgres', q{
				WITH c AS (SELECT payload, attempt FROM job_queue.claim('q', 10)),
					 g AS (INSERT INTO got SELECT * FROM c RETURNING 1)
				SELECT (SELECT count(*) FROM got) + (SELECT count(*) FROM g) = 3}),
			"$name: all three can be claimed");
		is( sql(q{SELECT string_agg(payload::text || ' ' || attempt, ', ' ORDER BY payload) FROM got}, 'TRUNCATE got'),
			'1 2, 2 1, 3 1', "$name: and are, once");
	}
}

is_healthy($node, 'after all that');
$node->stop;
done_testing();
