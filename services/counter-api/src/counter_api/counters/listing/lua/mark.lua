-- Says of a shard that a scan has begun, or that it has been completed.
--
-- KEYS[1]  the shard's state: nothing, the token of a scan that has begun, or `complete`
-- ARGV     the token of the scan, and `begun` or `complete`
-- Replies  1 if the shard is complete now

-- A shard that was emptied during the scan has lost the token, and with it what the scan had found before.
local state = redis.call('GET', KEYS[1])
if state == 'complete' then return 1 end
if ARGV[2] == 'begun' then
  redis.call('SET', KEYS[1], ARGV[1])
  return 0
end
if state ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], 'complete')
return 1
