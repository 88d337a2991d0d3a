-- +goose Up

-- From when on the sign-ins of somebody who left every platform count as ended stands
-- in rows of their own (kind left), which are found by a keyed value and whose moment
-- is sealed. In the rows of the sign-ins it told a copy, for as long as they lived,
-- which of them ended together, and each platform which was its own: by the moment.
-- Kind key: at which platform a DPoP key is used.
UPDATE openid_rows SET version = version + 1, body = '', holder = '', ended = true, writer = substr(sha256(id || writer), 1, 16)
WHERE ends IS NOT NULL AND NOT ended;
DROP INDEX openid_rows_ended;
ALTER TABLE openid_rows
  DROP COLUMN ends,
  DROP CONSTRAINT openid_rows_kind_check,
  ADD CONSTRAINT openid_rows_kind_check CHECK (kind IN ('session', 'grant', 'left', 'key'));
CREATE INDEX openid_rows_ended ON openid_rows (id) WHERE kind = 'grant' AND ended;
