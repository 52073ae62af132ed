-- A plan made for an empty table is a sequential scan that stays.
ANALYZE job;
