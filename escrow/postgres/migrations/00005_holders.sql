-- +goose Up

-- Whose a grant is, so that all of them can be ended when their person is
-- erased. It was in the body before. A row that has ended names nobody.
ALTER TABLE openid_rows ADD COLUMN holder text NOT NULL DEFAULT '' CHECK (octet_length(holder) <= 128 AND (holder = '' OR kind = 'grant' AND NOT ended));
UPDATE openid_rows SET holder = convert_from(body, 'UTF8')::json ->> 'pseudonym' WHERE kind = 'grant' AND NOT ended;
CREATE INDEX openid_rows_by_holder ON openid_rows (holder) WHERE holder <> '';
