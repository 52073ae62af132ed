/*
 * wakeup.c
 *	  How long after the commit of an enqueue an idle worker has the job.
 *
 * usage: wakeup job_queue|textbook JOBS CONNINFO
 *
 * The worker waits on an empty queue: in wait_for_jobs(), or for the
 * notification that the textbook producer sends.  The producer commits a job
 * every 10 to 30 ms, and only when the worker has finished the one before.
 * For each job one line is printed: microseconds from sending COMMIT and from
 * its answer to the claim's answer in the worker's hands.
 */
#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* One side of the comparison: the statements that differ. */
typedef struct Dialect
{
	const char *name;
	const char *listen; /* what the worker says once, or NULL */
	const char *wait;	/* call that returns when there is a job, or NULL */
	const char *enqueue;
	const char *notify; /* what the producer adds, or NULL */
	const char *claim;	/* answers id and token */
	const char *complete;
} Dialect;

#define PAYLOAD "'{\"document\": \"/srv/documents/report-17.pdf\"}'"

static const Dialect dialects[] = {
	{
		.name = "job_queue",
		.wait = "CALL job_queue.wait_for_jobs('bench', '30 s')",
		.enqueue = "SELECT job_queue.enqueue('bench', " PAYLOAD ")",
		.claim = "SELECT job_id, lease_token, payload"
				 "  FROM job_queue.claim('bench')",
		.complete = "SELECT job_queue.complete($1, $2)",
	},
	{
		.name = "textbook",
		.listen = "LISTEN bench",
		.enqueue = "INSERT INTO job (queue, payload)"
				   " VALUES ('bench', " PAYLOAD ")",
		.notify = "NOTIFY bench",
		.claim = "UPDATE job SET state = 'running', attempt = attempt + 1,"
				 "       token = 1 + job.id,"
				 "       lease_expires_at = now() + interval '5 min'"
				 "  FROM (SELECT id FROM job WHERE queue = 'bench'"
				 "           AND state = 'ready' AND run_at <= now()"
				 "         ORDER BY priority, id LIMIT 1"
				 "           FOR UPDATE SKIP LOCKED) AS next"
				 " WHERE job.id = next.id"
				 " RETURNING job.id, job.token, job.payload",
		.complete = "UPDATE job SET state = 'done'"
					" WHERE id = $1 AND token = $2",
	},
};

/* Shared by the two threads; taken says when the worker's part is written. */
static const Dialect *dialect;
static const char *conninfo;
static int njobs;
static double *taken_at; /* microseconds, written by the worker */
static sem_t taken;

static void
fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static double
now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

static PGconn *
open_connection(void)
{
	PGconn *conn = PQconnectdb(conninfo);

	if (PQstatus(conn) != CONNECTION_OK)
		fail("could not connect: %s", PQerrorMessage(conn));
	return conn;
}

/* Returns the result if the server was content, or ends the program. */
static PGresult *
check(PGconn *conn, PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);

	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		fail("%s", PQerrorMessage(conn));
	return result;
}

static void
run(PGconn *conn, const char *query)
{
	PQclear(check(conn, PQexec(conn, query)));
}

static void
prepare(PGconn *conn, const char *name, const char *query)
{
	PQclear(check(conn, PQprepare(conn, name, query, 0, NULL)));
}

static PGresult *
execute(PGconn *conn, const char *name, int nargs, const char *const *args)
{
	return check(conn, PQexecPrepared(conn, name, nargs, args, NULL, NULL, 0));
}

/* Wait until the server says that there is a job. */
static void
wait_for_job(PGconn *conn)
{
	PGnotify *note;

	if (dialect->wait != NULL)
	{
		PGresult *result = check(conn, PQexec(conn, dialect->wait));

		if (strcmp(PQgetvalue(result, 0, 0), "t") != 0)
			fail("waited in vain for a job");
		PQclear(result);
		return;
	}

	while ((note = PQnotifies(conn)) == NULL)
	{
		struct pollfd poll_fd = {.fd = PQsocket(conn), .events = POLLIN};

		if (poll(&poll_fd, 1, 30000) <= 0)
			fail("waited in vain for a notification");
		if (!PQconsumeInput(conn))
			fail("%s", PQerrorMessage(conn));
	}
	PQfreemem(note);
}

static void *
worker_main(void *unused)
{
	PGconn *conn = open_connection();

	(void) unused;
	prepare(conn, "claim", dialect->claim);
	prepare(conn, "complete", dialect->complete);
	if (dialect->listen != NULL)
		run(conn, dialect->listen);
	sem_post(&taken);

	for (int i = 0; i < njobs; i++)
	{
		PGresult *job;
		const char *args[2];

		wait_for_job(conn);
		job = execute(conn, "claim", 0, NULL);
		taken_at[i] = now_us();
		if (PQntuples(job) != 1)
			fail("woken, but there was no job");

		args[0] = PQgetvalue(job, 0, 0);
		args[1] = PQgetvalue(job, 0, 1);
		PQclear(execute(conn, "complete", 2, args));
		PQclear(job);
		sem_post(&taken);
	}
	PQfinish(conn);
	return NULL;
}

static void
produce(PGconn *conn)
{
	prepare(conn, "enqueue", dialect->enqueue);
	sem_wait(&taken); /* the worker is there */

	for (int i = 0; i < njobs; i++)
	{
		double sent;
		double answered;

		/* Let the worker come to rest. */
		usleep(10000 + random() % 20000);

		run(conn, "BEGIN");
		PQclear(execute(conn, "enqueue", 0, NULL));
		if (dialect->notify != NULL)
			run(conn, dialect->notify);
		sent = now_us();
		run(conn, "COMMIT");
		answered = now_us();

		sem_wait(&taken);
		printf("%.0f %.0f\n", taken_at[i] - sent, taken_at[i] - answered);
	}
}

int
main(int argc, char **argv)
{
	pthread_t worker;
	PGconn *conn;

	if (argc != 4)
		fail("usage: %s job_queue|textbook JOBS CONNINFO", argv[0]);
	for (size_t i = 0; i < sizeof(dialects) / sizeof(dialects[0]); i++)
		if (strcmp(argv[1], dialects[i].name) == 0)
			dialect = &dialects[i];
	njobs = atoi(argv[2]);
	if (dialect == NULL || njobs <= 0)
		fail("unknown system or number of jobs");
	conninfo = argv[3];

	taken_at = calloc((size_t) njobs, sizeof(*taken_at));
	if (taken_at == NULL)
		fail("out of memory");
	sem_init(&taken, 0, 0);
	if (pthread_create(&worker, NULL, worker_main, NULL) != 0)
		fail("could not start the worker's thread");

	conn = open_connection();
	produce(conn);
	PQfinish(conn);
	pthread_join(worker, NULL);
	return 0;
}
