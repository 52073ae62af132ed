# Jobs that come by other ways than enqueue, and more of them than fit into
# shared memory: none is lost, none comes twice, and priorities hold.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use JobQueueTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = preloaded_node('main', q{
job_queue.ready_memory = '64kB'
job_queue.max_queues = 16
});

# Overflow

$node->safe_psql('postgres', q{SELECT job_queue.create_queue('many', lease => '1 day', max_attempts => 10)});

# Jobs with priorities from -50 to 50, in no order.
sub enqueue_many
{
	my ($count) = @_;
	$node->safe_psql('postgres', "
		SELECT count(job_queue.enqueue('many', to_jsonb(n), priority => (n * 7919) % 101 - 50))
		  FROM generate_series(1, $count) n");
	return;
}

# Is the index complete, and does it have less than the table?
sub in_index
{
	# a queue has an index once somebody asks for its jobs
	$node->safe_psql('postgres', q{CALL job_queue.wait_for_jobs('many', '0 s')});
	return $node->safe_psql('postgres', q{
		SELECT r.complete, r.entries < (SELECT count(*) FROM job_queue.job WHERE state = 'w')
		  FROM job_queue._ready_index() r JOIN job_queue.queue q ON q.id = r.queue_id WHERE q.name = 'many'});
}

# Claim until there is nothing left, in one session, so many at a time; the
# answer says how many there were, and whether they came in order.
sub claim_all
{
	my ($batch, $order) = @_;
	return $node->safe_psql('postgres', "
		CREATE TEMP TABLE got (position serial, priority int, job_id bigint);
		DO \$\$
		DECLARE
			before int := -1;
		BEGIN
			WHILE before < (SELECT count(*) FROM got) LOOP
				SELECT count(*) INTO before FROM got;
				COMMIT;
				INSERT INTO got (priority, job_id) SELECT priority, job_id FROM job_queue.claim('many', $batch);
			END LOOP;
		END
		\$\$;
		SELECT count(DISTINCT job_id), count(*),
			   bool_and($order >= before OR before IS NULL)
		  FROM (SELECT *, lag($order) OVER (ORDER BY position) AS before FROM got) g");
}

# All running jobs wait again, as the administrator wills it.
sub all_back
{
	$node->safe_psql('postgres', q{
		UPDATE job_queue.job SET state = 'w', attempt = 0, lease_token = NULL, started_at = NULL,
			lease_expires_at = NULL, worker = NULL
		 WHERE state = 'r'});
	return;
}

enqueue_many(20000);
is(in_index(), 'f|t', 'the jobs do not fit into shared memory');
is(claim_all(500, '(priority, job_id)'), '20000|20000|t', 'all are claimed in order, by 500');
all_back();
is(in_index(), 'f|t', 'they do not fit when they come back either');
is(claim_all(7, 'priority'), '20000|20000|t', 'all are claimed by priority, by 7');
all_back();
$node->restart;
is(claim_all(10000, '(priority, job_id)'), '20000|20000|t', 'after a restart all are claimed in order, by 10000');
all_back();
$node->stop('immediate');
$node->start;
is(claim_all(100, '(priority, job_id)'), '20000|20000|t', 'after a crash as well');

# A more urgent job does not wait for the others, however many there are.
all_back();
$node->safe_psql('postgres', q{SELECT count(*) FROM job_queue.claim('many', 1000)});
$node->safe_psql('postgres', q{SELECT job_queue.enqueue('many', '"urgent"', priority => -1000)});
is($node->safe_psql('postgres', q{SELECT payload #>> '{}' FROM job_queue.claim('many')}),
	'urgent', 'an urgent job comes first');
$node->safe_psql('postgres', q{SELECT job_queue.enqueue('many', '"last"', priority => 1000)});
is((split /\|/, claim_all(1000, 'priority'))[0], '19001', 'and one that is not is not forgotten');

# Many at once: claimers that commit and roll back, to savepoints too, while
# jobs arrive.
$node->safe_psql('postgres', q{SELECT job_queue.drop_queue('many', force => true);
	SELECT job_queue.create_queue('many', lease => '1 day', max_attempts => 10);
	CREATE TABLE done (job_id bigint)});
enqueue_many(5000);
$node->pgbench(
	'--no-vacuum --client=4 --transactions=200 --protocol=prepared',
	0, [qr/processed: 800\/800/], [qr/^$/], 'claims and arrivals at once', {
		'claim_commit@4' => q{
			WITH c AS (SELECT job_id, lease_token FROM job_queue.claim('many', 7)),
				 d AS (INSERT INTO done SELECT job_id FROM c)
			SELECT count(job_queue.complete(job_id, lease_token)) FROM c;},
		'claim_abort@2' => q{
			BEGIN;
			SELECT count(*) FROM job_queue.claim('many', 5);
			ROLLBACK;},
		'claim_savepoint@2' => q{
			BEGIN;
			SAVEPOINT s;
			SELECT count(*) FROM job_queue.claim('many', 5);
			ROLLBACK TO s;
			WITH c AS (SELECT job_id, lease_token FROM job_queue.claim('many', 3)),
				 d AS (INSERT INTO done SELECT job_id FROM c)
			SELECT count(job_queue.complete(job_id, lease_token)) FROM c;
			COMMIT;},
		'arrive@4' => q{
			\set p random(-50, 50)
			SELECT count(*) FROM job_queue.enqueue_many('many', array_fill('{}'::jsonb, '{10}'), priority => :p);},
		'arrive_late@1' => q{
			\set p random(-50, 50)
			BEGIN;
			SELECT job_queue.enqueue('many', priority => :p);
			SELECT count(*) FROM job_queue.job;
			COMMIT;} });
drain($node, 'after the overflow', 'many');
is( $node->safe_psql('postgres', q{
		SELECT count(*) FROM (SELECT FROM done GROUP BY job_id HAVING count(*) > 1) twice}),
	'0', 'no job was done twice');
is( $node->safe_psql('postgres', q{
		SELECT count(*) FROM done d LEFT JOIN job_queue.jobs j USING (job_id) WHERE j.status IS DISTINCT FROM 'completed'}),
	'0', 'what was done is completed');
is_healthy($node, 'after the overflow');

# More queues than there is room for: their jobs wait in the table.
$node->safe_psql('postgres', q{SELECT count(job_queue.enqueue('queue ' || n)) FROM generate_series(1, 30) n});
my $claims = join('', map { "SELECT count(*) FROM job_queue.claim('queue $_');\n" } 1 .. 30);
my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$claims", on_error_stop => 0);
my @claimed = $out =~ /^1$/mg;
my @refused = $err =~ /ERROR:  JQ010:.*\n(?:DETAIL:.*\n)?HINT:.*job_queue\.max_queues/g;
cmp_ok(scalar @claimed, '>', 5, 'queues that fit give their jobs');
cmp_ok(scalar @refused, '>', 5, 'the others name the setting to raise');
is(@claimed + @refused, 30, 'one or the other');
$node->append_conf('postgresql.conf', 'job_queue.max_queues = 100');
$node->restart;
$out = $node->safe_psql('postgres', $claims);
my @later = $out =~ /^1$/mg;
is(@claimed + @later, 30, 'with more room the jobs that waited are claimed');

# Other ways

$node->safe_psql('postgres', q{SELECT job_queue.create_queue('other', lease => '1 day')});
my $columns = 'queue_id, enqueued_by, max_attempts, enqueued_at, payload';
my $queue = $node->safe_psql('postgres', q{SELECT id FROM job_queue.queue WHERE name = 'other'});

sub claimed_from_other
{
	return $node->safe_psql('postgres', q{SELECT count(DISTINCT job_id) FROM job_queue.claim('other', 10000)});
}

$node->safe_psql('postgres', join("\n", "COPY job_queue.job ($columns) FROM STDIN;",
		map({ "$queue\t10\t3\t2026-01-01\t$_" } 1 .. 3000), '\.', ''));
is(claimed_from_other(), '3000', 'COPY');

# COMMIT PREPARED, by another session, after a restart, after a crash
foreach my $between ('', 'restart', 'crash')
{
	my $name = $between ? " after a $between" : '';

	$node->safe_psql('postgres', q{
		BEGIN;
		SELECT job_queue.enqueue_many('other', '{"1", "2", "3"}');
		PREPARE TRANSACTION 'kept';
		BEGIN;
		SELECT job_queue.enqueue_many('other', '{"4", "5"}');
		PREPARE TRANSACTION 'undone'});
	$node->restart if $between eq 'restart';
	if ($between eq 'crash')
	{
		$node->stop('immediate');
		$node->start;
	}
	is(claimed_from_other(), '0', "nothing is there before COMMIT PREPARED$name");
	$node->safe_psql('postgres', q{COMMIT PREPARED 'kept'; ROLLBACK PREPARED 'undone'});
	is(claimed_from_other(), '3', "what COMMIT PREPARED brings is claimed$name");

	# and claims
	$node->safe_psql('postgres', q{
		SELECT job_queue.enqueue_many('other', '{"1", "2"}');
		BEGIN;
		SELECT count(*) FROM job_queue.claim('other');
		PREPARE TRANSACTION 'kept';
		BEGIN;
		SELECT count(*) FROM job_queue.claim('other');
		PREPARE TRANSACTION 'undone'});
	$node->restart if $between eq 'restart';
	if ($between eq 'crash')
	{
		$node->stop('immediate');
		$node->start;
	}
	is(claimed_from_other(), '0', "jobs of a prepared claim are nobody else's$name");
	$node->safe_psql('postgres', q{COMMIT PREPARED 'kept'; ROLLBACK PREPARED 'undone'});
	is($node->safe_psql('postgres', q{SELECT payload FROM job_queue.claim('other', 10)}),
		'2', "ROLLBACK PREPARED gives a job back$name");
}

# Administration under load

$node->safe_psql('postgres', q{SELECT job_queue.drop_queue(name, force => true) FROM job_queue.queues});
my $load = start_load($node, 3);
my $admin = $node->background_psql('postgres');

# Jobs that are completed now are completed with the table as it is now.
sub load_goes_on
{
	my $before = $node->safe_psql('postgres', 'SELECT count(*) FROM job_queue.job_history');
	return $node->poll_query_until('postgres',
		"SELECT count(*) > $before + 300 FROM job_queue.job_history");
}

ok(load_goes_on(), 'there is a load');
foreach my $command (
	'VACUUM FULL job_queue.job', 'CLUSTER job_queue.job USING job_pkey',
	'REINDEX TABLE job_queue.job', 'REINDEX TABLE CONCURRENTLY job_queue.job',
	'VACUUM FULL job_queue.queue', 'VACUUM (FREEZE) job_queue.job',
	'ALTER TABLE job_queue.job SET (fillfactor = 60)', 'ANALYZE job_queue.job')
{
	$admin->query_safe($command);
	ok(load_goes_on(), "the load goes on after $command");
}
$admin->quit;
stop_load($load);
check_journal($load, 'administration');
drain($node, 'administration', 'plain', 'effect');
is_healthy($node, 'administration');

# TRUNCATE takes the jobs, and nothing else.
$load = start_load($node, 2);
ok(load_goes_on(), 'there is a load');
foreach my $time (1 .. 5)
{
	$node->safe_psql('postgres', 'TRUNCATE job_queue.job');
	ok(load_goes_on(), "the load goes on after TRUNCATE, time $time");
}
stop_load($load);
drain($node, 'TRUNCATE', 'plain', 'effect');
is_healthy($node, 'TRUNCATE');

$node->stop;
done_testing();
