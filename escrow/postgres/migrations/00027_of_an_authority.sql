-- +goose Up

-- The cases of one authority in the order of what is due, as its own list asks for them.
CREATE INDEX cases_of_authority ON cases (authority, (least(
  CASE WHEN waiting > 0 AND state IN ('recorded', 'authorised', 'released') AND kind IN ('production', 'emergency', 'suspension', 'link', 'redelivery')
    THEN date_trunc('second', approve_from AT TIME ZONE 'UTC') + CASE kind WHEN 'emergency' THEN interval '8 hours' ELSE interval '240 hours' END END,
  CASE WHEN validated_leaf IS NULL AND lapsed_leaf IS NULL AND state IN ('recorded', 'authorised', 'released', 'noticed')
    THEN date_trunc('second', validate_by AT TIME ZONE 'UTC') END,
  CASE WHEN kind IN ('production', 'emergency', 'preservation', 'suspension', 'link', 'redelivery') AND (state IN ('recorded', 'authorised') OR state = 'released' AND waiting > 0)
    THEN date_trunc('second', expires AT TIME ZONE 'UTC') END,
  CASE WHEN kind IN ('production', 'emergency', 'redelivery') AND state IN ('recorded', 'authorised', 'released', 'lost')
    THEN date_trunc('second', secrecy_ends AT TIME ZONE 'UTC') END)), recorded_leaf)
  WHERE least(
  CASE WHEN waiting > 0 AND state IN ('recorded', 'authorised', 'released') AND kind IN ('production', 'emergency', 'suspension', 'link', 'redelivery')
    THEN date_trunc('second', approve_from AT TIME ZONE 'UTC') + CASE kind WHEN 'emergency' THEN interval '8 hours' ELSE interval '240 hours' END END,
  CASE WHEN validated_leaf IS NULL AND lapsed_leaf IS NULL AND state IN ('recorded', 'authorised', 'released', 'noticed')
    THEN date_trunc('second', validate_by AT TIME ZONE 'UTC') END,
  CASE WHEN kind IN ('production', 'emergency', 'preservation', 'suspension', 'link', 'redelivery') AND (state IN ('recorded', 'authorised') OR state = 'released' AND waiting > 0)
    THEN date_trunc('second', expires AT TIME ZONE 'UTC') END,
  CASE WHEN kind IN ('production', 'emergency', 'redelivery') AND state IN ('recorded', 'authorised', 'released', 'lost')
    THEN date_trunc('second', secrecy_ends AT TIME ZONE 'UTC') END) IS NOT NULL;
