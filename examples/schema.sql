-- The tables of worker.py, and what the queue has to know about its jobs.

CREATE TABLE document (
	id			bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	path		text NOT NULL UNIQUE,
	-- How often its text was extracted.  This stands for what costs: a model, a paid service.
	extractions	int NOT NULL DEFAULT 0
);

CREATE TABLE chunk (
	document	bigint NOT NULL REFERENCES document,
	number		int NOT NULL,
	body		text NOT NULL,
	words		tsvector GENERATED ALWAYS AS (to_tsvector('english', body)) STORED,
	PRIMARY KEY (document, number)
);
CREATE INDEX ON chunk USING gin (words);

-- A job's progress is the sum of the weights of its completed stages.
SELECT job_queue.define_pipeline('document',
	stages => ARRAY['extract', 'chunk', 'index'],
	weights => ARRAY[60, 10, 30]);

SELECT job_queue.create_queue('documents', lease => '1 min');
