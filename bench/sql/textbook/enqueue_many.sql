INSERT INTO job (queue, payload)
SELECT 'bench', p FROM unnest(array_fill(:payload::jsonb, ARRAY[@BATCH@])) AS p;
