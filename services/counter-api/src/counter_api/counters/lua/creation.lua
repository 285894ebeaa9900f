-- Prepended to the scripts that make counters.

-- Whether a counter may be made: its name has been listed lately (see listing/shards.py), and that holds until then, in
-- milliseconds of Redis' time.
local function listed(till)
  local time = redis.call('TIME')
  return time[1] * 1000 + time[2] / 1000 <= tonumber(till)
end
