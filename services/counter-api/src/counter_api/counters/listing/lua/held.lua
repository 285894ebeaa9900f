-- Reads counters with their times to live, all at one moment. Keys are not declared, because in a cluster the keys of
-- one server are in many slots.
--
-- ARGV     the keys of the counters
-- Replies  for each: its value (false if there is none, 'elsewhere' if another server has it now), and milliseconds to
--          live (-1: it does not expire)

local replies = {}
for i, key in ipairs(ARGV) do
  local value, left = redis.pcall('GET', key), -1
  if type(value) == 'table' then
    -- Another program's data, or the cluster has moved the key.
    value = not value.err:find('^WRONGTYPE') and 'elsewhere'
  elseif value then
    left = redis.call('PTTL', key)
  end
  replies[2 * i - 1], replies[2 * i] = value, left
end
return replies
