-- The latest buckets of a series, by Redis' clock.
--
-- KEYS[1]  the series
-- KEYS[2]  the counter; without it there is no series, even if the series' key still exists
-- ARGV     seconds of a bucket, how many buckets
-- Replies  when the newest bucket began, then what each holds (nothing: nil), oldest first

local step, count = tonumber(ARGV[1]), tonumber(ARGV[2])
local now = tonumber(redis.call('TIME')[1])
local newest = now - now % step
local starts = {}
for place = 1, count do
  starts[place] = string.format('%.0f', newest - (count - place) * step)
end
local values = redis.call('HMGET', KEYS[1], unpack(starts))
if redis.call('EXISTS', KEYS[2]) == 0 then
  for place = 1, count do values[place] = false end
end
return {newest, values}
