-- The durable heartbeat: an update of the client's own row.
UPDATE job SET lease_expires_at = now() + interval '5 min'
 WHERE id = :id AND token = :token;
