-- Prepended to the scripts that make counters: a new counter begins without the series of an expired one.

-- The keys of the series are not declared: they are in the counter's slot, and not used if the counter exists. Data of
-- other programs under these keys is left alone.
local function forget_series(counter)
  for _, unit in ipairs({'minute', 'hour', 'day'}) do
    local key = counter .. ':series:' .. unit
    if redis.call('TYPE', key)['ok'] == 'hash' then redis.call('DEL', key) end
  end
end
