-- Prepended to import.lua and import_slot.lua: counters are KEYS[2..], each with two of ARGV[5..].

-- The place, from 0, of the first counter whose key holds another program's data, or nil.
local function first_foreign()
  for i = 2, #KEYS do
    local found = redis.pcall('GET', KEYS[i])
    if type(found) == 'table' or (found and found ~= '0' and not found:find('^-?[1-9]%d*$')) then return i - 2 end
  end
end

local function set_counters()
  for i = 2, #KEYS do
    if redis.call('EXISTS', KEYS[i]) == 0 then forget_series(KEYS[i]) end
    local value, ttl = ARGV[2 * i + 1], ARGV[2 * i + 2]
    if ttl == '' then
      redis.call('SET', KEYS[i], value)
    else
      redis.call('SET', KEYS[i], value, 'EX', ttl)
    end
  end
end
