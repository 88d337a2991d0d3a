-- +goose Up

-- Kind logout: a grant that ended, of which its platform is to be told. Its key is a keyed
-- value of the grant's and its body is sealed, so that a copy tells of neither; it is made
-- when its platform's moment has come, and what is noted of it leaves the rows of kind
-- left alone, which are of all that a person left.
ALTER TABLE openid_rows
  DROP CONSTRAINT openid_rows_kind_check,
  ADD CONSTRAINT openid_rows_kind_check CHECK (kind IN ('session', 'grant', 'left', 'key', 'logout'));
CREATE INDEX openid_rows_left    ON openid_rows (expires) WHERE kind = 'left';
CREATE INDEX openid_rows_logouts ON openid_rows (id) WHERE kind = 'logout' AND NOT ended;
