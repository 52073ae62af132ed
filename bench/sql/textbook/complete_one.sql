UPDATE job SET state = 'done' WHERE id = :id AND token = :token;
