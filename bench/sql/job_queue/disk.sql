-- Bytes on disk of the finished jobs and their indexes.
SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('job_queue.job_history');
