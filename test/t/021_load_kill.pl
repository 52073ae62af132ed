# Kill everything that can be killed under load: what was acknowledged is
# there, once, and the rest goes on.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use JobQueueTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = preloaded_node('main', q{
wal_level = replica
});
my $clients = 4;
my $load = start_load($node, $clients);

# Wait until the load has completed so many more jobs.
sub wait_for_progress
{
	my ($more) = @_;
	my $query = q{SELECT count(*) FROM job_queue.job_history};
	my $done;

	# the server may still be recovering
	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		my ($rc, $out) = $node->psql('postgres', $query);

		if ($rc == 0)
		{
			$done = $out unless defined $done;
			return 1 if $out >= $done + $more;
		}
		select(undef, undef, undef, 0.1);
	}
	return 0;
}

# The process id of a server process of the load, or of one of ours.
sub backend
{
	my ($where) = @_;
	return $node->safe_psql('postgres', "
		SELECT pid FROM pg_stat_activity WHERE $where
		 ORDER BY random() LIMIT 1");
}

my $of_load = q{backend_type = 'client backend' AND query LIKE '%job_queue%' AND pid <> pg_backend_pid()};
my %deed = (
	'a client is killed' => sub { kill_client($load, 1 + int rand $clients) },
	'a statement is cancelled' => sub {
		$node->safe_psql('postgres', "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE $of_load");
	},
	'a backend is terminated' => sub {
		$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE $of_load LIMIT 1");
	},
	'a backend is killed' => sub { kill 'KILL', backend($of_load) || return },
	'the maintenance worker is terminated' => sub {
		kill 'TERM', backend(q{backend_type = 'job_queue maintenance'}) || return;
	},
	'the maintenance worker is killed' => sub {
		kill 'KILL', backend(q{backend_type = 'job_queue maintenance'}) || return;
	},
	'the launcher is killed' => sub {
		kill 'KILL', backend(q{backend_type = 'job_queue launcher'}) || return;
	},
	'the server is stopped at once' => sub {
		$node->stop('immediate');
		$node->start;
	},
	'the server is restarted' => sub { $node->restart },
	'the postmaster is killed' => sub {
		$node->kill9;
		start_again($node);
	});
my @order = (
	'a client is killed',
	'a backend is terminated',
	'a backend is killed',
	'a statement is cancelled',
	'the maintenance worker is terminated',
	'the maintenance worker is killed',
	'the server is stopped at once',
	'a client is killed',
	'the launcher is killed',
	'the postmaster is killed',
	'a backend is killed',
	'the server is restarted',
	'a statement is cancelled',
	'the postmaster is killed');

ok(wait_for_progress(200), 'the load runs');
foreach my $what (@order)
{
	$deed{$what}->();
	ok(wait_for_progress(200), "the load goes on after $what");
}
stop_load($load);
check_journal($load, 'after the load');
is_healthy($node, 'after the load');
drain($node, 'after the load', 'plain', 'effect');
is_healthy($node, 'at the end');

# The worker that maintains is there again, and so is the one that starts it.
ok( $node->poll_query_until('postgres', q{
		SELECT count(*) = 2 FROM pg_stat_activity
		 WHERE backend_type IN ('job_queue launcher', 'job_queue maintenance')}),
	'the workers are all back');

$node->stop;
done_testing();
