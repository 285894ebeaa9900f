-- Marks a shard: a scan has begun, or it is complete.
--
-- KEYS[1]  the shard's state: nothing, the token of a scan that has begun, or `complete`
-- ARGV     the token of the scan, and `begun` or `complete`
-- Replies  1 if the shard is complete now

-- A shard that was emptied during the scan has lost the token, and the names that the scan had added before.
local state = redis.call('GET', KEYS[1])
if state == 'complete' then return 1 end
if ARGV[2] == 'begun' then
  redis.call('SET', KEYS[1], ARGV[1])
  return 0
end
if state ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], 'complete')
return 1
