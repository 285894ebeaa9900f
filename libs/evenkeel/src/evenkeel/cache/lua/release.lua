-- Let another replica's relay take over at once.
-- KEYS: alive, state. ARGV: the caller's id, for how long alive may still live (ms). Relays that stand by try to take over
--       when alive lives for less than usual.
-- Reply: 1 if the caller had the claim.
if redis.call('HGET', KEYS[2], 'relay') ~= ARGV[1] then
  return 0
end
redis.call('HDEL', KEYS[2], 'relay', 'claimed_until')
if redis.call('PTTL', KEYS[1]) > tonumber(ARGV[2]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 1
