# What several of the tests here share: servers with the library preloaded, and
# a load whose clients keep a journal of what the server has acknowledged.
package JobQueueTest;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(
  preloaded_node start_again is_healthy
  start_load kill_client stop_load journal check_journal drain);

# A server with the library preloaded, started, with the extension in
# database postgres.
sub preloaded_node
{
	my ($name, $conf, @init) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(extra => ['--data-checksums'], @init);
	$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'job_queue'
job_queue.testing = on
restart_after_crash = on
max_prepared_transactions = 10
log_line_prefix = '%m [%p] %e %b %a '
log_statement = none
$conf});
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION job_queue');
	return $node;
}

# Start a server whose postmaster was killed: its last processes may still be
# about to leave.
sub start_again
{
	my ($node) = @_;

	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return if $node->start(fail_ok => 1);
		# a failed start takes the old pid file for that of a running server
		$node->{_pid} = undef;
		select(undef, undef, undef, 0.1);
	}
	BAIL_OUT('the server does not start again');
}

# The invariants hold, the indexes are sound, and the log has nothing that
# nobody asked for.
sub is_healthy
{
	my ($node, $name) = @_;

	is($node->safe_psql('postgres', 'SELECT * FROM job_queue.verify()'),
		'', "$name: the invariants hold");
	is( $node->safe_psql('postgres', q{
			CREATE EXTENSION IF NOT EXISTS amcheck;
			SELECT count(bt_index_check(c.oid, true)) > 5
			  FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
			 WHERE c.relnamespace = 'job_queue'::regnamespace AND c.relkind = 'i'}),
		't', "$name: the indexes are sound");
	unlike(slurp_file($node->logfile),
		qr/PANIC|TRAP:| XX\d\d\d |leaked|not freed/,
		"$name: the log has no internal errors");
	return;
}

# One round of a client: a job comes, a job is done by itself, and another in
# one transaction with its effect.
my $round = <<'SQL';
\echo trying KEY
SELECT job_queue.enqueue('plain', '"KEY"', priority => PRIORITY) AS id \gset
\if :{?id}
\echo enqueued KEY :id
\endif
SELECT job_queue.enqueue('effect', '"KEY"') AS ignored \gset
\unset id
\unset job
\unset done
SELECT job_id AS job, lease_token AS token FROM job_queue.claim('plain') \gset
\if :{?job}
\echo claimed :job :token
SELECT job_queue.complete(:job, :token) AS done \gset
\if :{?done}
\echo completed :job :token :done
\endif
\endif
BEGIN;
WITH c AS (SELECT * FROM job_queue.claim('effect')),
	 e AS (INSERT INTO effect SELECT job_id FROM c)
SELECT job_queue.complete(job_id, lease_token) FROM c;
END;
SQL

# Start clients that go on until stop_load, through restarts of the server.
# Their journals have a line per answer, written when the answer came.
sub start_load
{
	my ($node, $clients) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir;
	my %load = (node => $node, dir => $dir, clients => []);

	$node->safe_psql('postgres', q{
		CREATE TABLE IF NOT EXISTS effect (job_id bigint);
		SELECT job_queue.create_queue(name, if_not_exists => true)
		  FROM unnest('{plain,effect}'::text[]) name});
	append_to_file("$dir/running", '');
	foreach my $client (1 .. $clients)
	{
		append_to_file("$dir/script$client", join('',
			map {
				my $text = $round;
				$text =~ s/KEY/c$client-rRUN-$_/g;
				$text =~ s/PRIORITY/$_ % 3/ge;
				$text
			} 1 .. 500));

		# stdbuf: what is acknowledged is in the journal, even of who is killed
		my $shell = q{
			run=0
			while test -e "$1/running"; do
				run=$((run + 1))
				sed "s/RUN/$run/g" "$1/script$2" >"$1/input$2"
				stdbuf -oL psql -XAtq -d "$3" -f "$1/input$2" >>"$1/journal$2" 2>>"$1/errors$2" &
				echo $! >"$1/pid$2"
				wait $! || sleep 0.05
				echo >>"$1/journal$2"
			done};
		push @{ $load{clients} },
		  IPC::Run::start([ 'sh', '-c', $shell, 'load', $dir, $client, $node->connstr('postgres') ]);
	}
	return \%load;
}

# Kill one of the clients.
sub kill_client
{
	my ($load, $client) = @_;
	my $pid = slurp_file("$load->{dir}/pid$client");

	chomp $pid;
	kill 'KILL', $pid;
	return;
}

# Stop the clients, whatever they are doing.
sub stop_load
{
	my ($load) = @_;

	unlink "$load->{dir}/running";
	kill_client($load, $_) foreach 1 .. @{ $load->{clients} };
	$_->finish foreach @{ $load->{clients} };
	return;
}

# The lines of all journals whose first word is this one, as lists of words.
sub journal
{
	my ($load, $word) = @_;
	my @lines;

	foreach my $client (1 .. @{ $load->{clients} })
	{
		my $text = slurp_file("$load->{dir}/journal$client");

		push @lines, [ split / /, $1 ] while $text =~ /^$word (.*)\n/mg;
	}
	return @lines;
}

# Nothing that was acknowledged is missing, and nothing is there twice.
sub check_journal
{
	my ($load, $name) = @_;
	my $node = $load->{node};
	my @enqueued = journal($load, 'enqueued');
	my @claimed = journal($load, 'claimed');
	my @completed = grep { $_->[2] eq 't' } journal($load, 'completed');
	my (%tokens, %jobs);

	note(sprintf('%d enqueued, %d claimed, %d completed',
		scalar @enqueued, scalar @claimed, scalar @completed));
	cmp_ok(scalar @completed, '>', 100, "$name: there was a load");

	$node->safe_psql('postgres', q{
		DROP TABLE IF EXISTS enqueued, completed;
		CREATE TABLE enqueued (key text, job_id bigint);
		CREATE TABLE completed (job_id bigint, token bigint)});
	$node->safe_psql('postgres', join("\n", 'COPY enqueued FROM STDIN;',
			map({ join("\t", @$_) } @enqueued), '\.', 'COPY completed FROM STDIN;',
			map({ join("\t", @$_[ 0, 1 ]) } @completed), '\.', ''));

	is( $node->safe_psql('postgres', q{
			SELECT count(*) FROM enqueued e
			 WHERE (SELECT count(*) FROM job_queue.jobs j
					 WHERE j.job_id = e.job_id AND j.payload #>> '{}' = e.key) <> 1}),
		'0', "$name: every acknowledged job is in exactly one place");
	is( $node->safe_psql('postgres', q{
			SELECT count(*) FROM completed c
			 WHERE NOT EXISTS (SELECT FROM job_queue.job_history h
							   WHERE h.id = c.job_id AND h.status = 'c' AND h.lease_token = c.token)}),
		'0', "$name: no acknowledged completion is lost");
	is( $node->safe_psql('postgres', q{
			SELECT count(*) FROM (SELECT FROM job_queue.jobs WHERE queue IN ('plain', 'effect')
								   GROUP BY queue, payload HAVING count(*) > 1) twice}),
		'0', "$name: no job is there twice");
	is( $node->safe_psql('postgres', q{
			SELECT count(*) FROM effect e
			  FULL JOIN (SELECT job_id FROM job_queue.jobs WHERE queue = 'effect' AND status = 'completed') j
			 USING (job_id)
			 WHERE e.job_id IS NULL OR j.job_id IS NULL
				OR (SELECT count(*) FROM effect same WHERE same.job_id = e.job_id) > 1}),
		'0', "$name: completed jobs have had their effect, once, and no others");

	$tokens{ $_->[1] }++ foreach @claimed;
	is(scalar(grep { $_ > 1 } values %tokens), 0, "$name: no token was given twice");
	# No lease has ended meanwhile, so nobody else may get a job.
	$jobs{ $_->[0] }++ foreach @claimed;
	is(scalar(grep { $_ > 1 } values %jobs), 0, "$name: no job was given to two workers");
	return;
}

# Finish everything that is left, lost leases included.
sub drain
{
	my ($node, $name, @queues) = @_;
	my $queues = join(',', map { "'$_'" } @queues);

	$node->safe_psql('postgres', q{SELECT job_queue.advance_clock('1 h')});
	ok( $node->poll_query_until('postgres', "
			SELECT count(*) = 0 FROM job_queue.jobs WHERE queue IN ($queues) AND status = 'running'"),
		"$name: lost leases are recovered");
	$node->safe_psql('postgres', "
		DO \$\$
		DECLARE
			queue text;
			claimed bigint;
		BEGIN
			FOREACH queue IN ARRAY ARRAY[$queues] LOOP
				LOOP
					SELECT count(job_queue.complete(job_id, lease_token)) INTO claimed
					  FROM job_queue.claim(queue, 500);
					EXIT WHEN claimed = 0;
					COMMIT;
				END LOOP;
			END LOOP;
		END
		\$\$");
	is( $node->safe_psql('postgres', "
			SELECT count(*) FROM job_queue.jobs
			 WHERE queue IN ($queues) AND status IN ('ready', 'scheduled', 'running')"),
		'0', "$name: every job that is left can be claimed and completed");
	return;
}

1;
