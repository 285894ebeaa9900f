-- Prepended to the scripts that make counters.

-- Whether a counter may be made. It may for a while after its name was listed (see listing/shards.py): until `till`, in
-- milliseconds of Redis' time.
local function listed(till)
  local time = redis.call('TIME')
  return time[1] * 1000 + time[2] / 1000 <= tonumber(till)
end
