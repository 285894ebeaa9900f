-- Take the claim, or keep it.
-- KEYS: owner, alive, state. ARGV: the caller's id, how long the claim holds (ms).
-- Reply: {1 if the caller is the owner; the epoch; the state relayed last; the epoch after whose beginning all old names
--        were removed; the reason for distrust; the server's time (ms since 1970); for how many ms alive still lives
--        (below zero: it does not)}. Each of the texts is '' if there is none.
local owner = redis.call('GET', KEYS[1])
local mine = 0
if not owner or owner == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  mine = 1
end
local held = redis.call('HMGET', KEYS[3], 'epoch', 'state', 'swept', 'distrust')
local time = redis.call('TIME')
return {
  mine,
  held[1] or '',
  held[2] or '',
  held[3] or '',
  held[4] or '',
  time[1] * 1000 + math.floor(time[2] / 1000),
  redis.call('PTTL', KEYS[2]),
}
