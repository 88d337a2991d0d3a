-- +goose Up

-- A ruling by which an objection is upheld marks targets in its leaf, and does to them what an
-- annulment does.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION newest_leaf_is(of_kind text, about bigint) RETURNS boolean LANGUAGE sql STABLE SET search_path = penname, pg_temp AS $$
  SELECT EXISTS (SELECT FROM log_leaves g, LATERAL (SELECT convert_from(g.leaf, 'UTF8')::json) j (leaf)
    WHERE g.index = (SELECT max(index) FROM log_leaves) AND j.leaf ->> 'case' = about::text
      AND CASE WHEN j.leaf ->> 'warrant_kind' = 'ruling' AND j.leaf ->> 'which' <> '' THEN 'annulment'
               ELSE coalesce(j.leaf ->> 'warrant_kind', j.leaf ->> 'kind') END = of_kind)
$$;
-- +goose StatementEnd
