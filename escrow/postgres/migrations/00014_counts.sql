-- +goose Up

-- What an operator's metrics count every few seconds, however many rows there are. None
-- of these tells more than its table does.
CREATE INDEX cases_by_state   ON cases (state);
CREATE INDEX erasures_pending ON erasures (day) WHERE leaf IS NULL;
CREATE INDEX reviews_pending  ON reviews (day) WHERE state IN ('held', 'objected');
