-- Notes that a replica runs. Forgets replicas that have been gone for long, and keeps the sum of their requests.
--
-- KEYS[1]  requests by replica; under the empty name those of forgotten replicas
-- KEYS[2]  when each replica last ran, in seconds
-- ARGV[1]  the replica
-- ARGV[2]  seconds after which a replica is forgotten
-- Replies  how many were forgotten

local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[2], now, ARGV[1])
-- Older releases noted no time. Their replicas count as seen now.
for _, replica in ipairs(redis.call('HKEYS', KEYS[1])) do
  if replica ~= '' then redis.call('ZADD', KEYS[2], 'NX', now, replica) end
end
local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[2])
for _, replica in ipairs(gone) do
  local requests = redis.call('HGET', KEYS[1], replica)
  if requests then
    redis.call('HINCRBY', KEYS[1], '', requests)
    redis.call('HDEL', KEYS[1], replica)
  end
  redis.call('ZREM', KEYS[2], replica)
end
return #gone
