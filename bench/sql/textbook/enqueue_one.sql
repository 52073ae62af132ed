INSERT INTO job (queue, payload) VALUES ('bench', :payload);
