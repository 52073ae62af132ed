-- Bytes on disk of the finished jobs and their indexes.
SELECT pg_total_relation_size('job');
