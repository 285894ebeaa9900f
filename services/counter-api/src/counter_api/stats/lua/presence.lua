-- Notes that a replica is there, and adds up what those have counted that have been gone for long.
--
-- KEYS[1]  requests by replica; those of replicas that are gone are under the empty name
-- KEYS[2]  when each replica was there last, in seconds
-- ARGV[1]  the replica
-- ARGV[2]  seconds after which one is forgotten
-- Replies  how many were forgotten

local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[2], now, ARGV[1])
-- Of those that nobody has seen yet, which older releases leave, the time begins now.
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
