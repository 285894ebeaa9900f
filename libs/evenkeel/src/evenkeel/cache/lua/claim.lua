-- Take the claim, or keep it.
-- KEYS: alive, state. ARGV: the caller's id, how long the claim holds (ms).
-- Reply: {1 if the caller has the claim; the epoch; the state relayed last; the epoch after whose beginning all old names
--        were removed; the reason for distrust; the server's time (ms since 1970); for how many ms alive still lives
--        (below zero: it does not)}. Each of the texts is '' if there is none.
local held = redis.pcall('HMGET', KEYS[2], 'epoch', 'state', 'swept', 'distrust', 'relay', 'claimed_until')
if held.err then -- somebody has put something else in its place
  redis.call('DEL', KEYS[2])
  held = {}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local mine = 0
-- Claims hold for seconds. One that holds for more than a minute was made before the server's clock was set back.
local ends = tonumber(held[6]) or 0
if not held[5] or held[5] == ARGV[1] or ends <= now or ends > now + 60000 then
  redis.call('HSET', KEYS[2], 'relay', ARGV[1], 'claimed_until', string.format('%.0f', now + ARGV[2]))
  mine = 1
end
return {
  mine,
  held[1] or '',
  held[2] or '',
  held[3] or '',
  held[4] or '',
  now,
  redis.call('PTTL', KEYS[1]),
}
