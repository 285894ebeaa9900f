-- Prepended to the scripts that make counters: a new counter begins without the series of one that has expired.

-- Their keys are not declared: they are in the counter's slot, and of no interest where the counter exists. What
-- somebody else has put there is left alone.
local function forget_series(counter)
  for _, unit in ipairs({'minute', 'hour', 'day'}) do
    local key = counter .. ':series:' .. unit
    if redis.call('TYPE', key)['ok'] == 'hash' then redis.call('DEL', key) end
  end
end
