\if :id = 0
SELECT id, token FROM held WHERE client = :client_id \gset
\endif
