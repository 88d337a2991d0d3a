-- +goose Up

-- A refused warrant is told from others by its authority and id, of which the
-- store keeps the SHA-256: an ES256 signature can be varied by anyone who sees it,
-- so the document's own hash, which older rows have here, counts one warrant many
-- times.
ALTER TABLE refusals RENAME COLUMN warrant_hash TO warrant;
