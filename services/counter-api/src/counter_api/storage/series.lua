-- The latest buckets of a series, by Redis' clock.
--
-- KEYS[1]  the series
-- ARGV     seconds of a bucket, how many buckets
-- Replies  when the newest bucket began, then what each holds (nothing: nil), oldest first

local step, count = tonumber(ARGV[1]), tonumber(ARGV[2])
local now = tonumber(redis.call('TIME')[1])
local newest = now - now % step
local starts = {}
for place = 1, count do
  starts[place] = string.format('%.0f', newest - (count - place) * step)
end
return {newest, redis.call('HMGET', KEYS[1], unpack(starts))}
