-- The bodies of all functions in PL/pgSQL, as plpgsql_check sees them.
\ir include/setup.sql
CREATE EXTENSION IF NOT EXISTS plpgsql_check;
SELECT * FROM no_plan();

SELECT is_empty(
		format($$SELECT level, lineno, message, detail FROM plpgsql_check_function_tb(%s, 0, fatal_errors => false,
				other_warnings => true, performance_warnings => false, security_warnings => true)
				WHERE level <> 'warning extra'$$, p.oid),
		p.proname || ' has no errors')
  FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
 WHERE p.pronamespace = 'job_queue'::regnamespace AND l.lanname = 'plpgsql'
   AND p.prorettype <> 'trigger'::regtype
 ORDER BY p.proname;

SELECT * FROM finish();
DROP EXTENSION plpgsql_check;
