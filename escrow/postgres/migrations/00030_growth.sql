-- +goose NO TRANSACTION
-- +goose Up

-- Whose a record is, and which accounts one person has: an order to link, and who comes back
-- after a deletion, read every person. A hash is a third of a B-tree. Stopped half way, it
-- begins again.
DROP INDEX CONCURRENTLY IF EXISTS persons_by_label;
CREATE INDEX CONCURRENTLY persons_by_label ON persons USING hash (label);
DROP INDEX CONCURRENTLY IF EXISTS persons_by_id;
CREATE INDEX CONCURRENTLY persons_by_id ON persons USING hash (id);
