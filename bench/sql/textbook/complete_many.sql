UPDATE job SET state = 'done' WHERE id = ANY (:ids) AND token = :token;
