-- Prepended to sum.lua and batch.lua: each batch is applied once, and not after the sender has given up.
--
-- KEYS[2] is the sender's receipt: number and reply of its last batch on this counter, kept for a minute. A sender has
-- one batch of a counter under way at a time, each with a greater number. So the last number is enough to recognise
-- copies.

local RECEIPT_SECONDS = 60

local function leave_receipt(number, reply)
  redis.call('SET', KEYS[2], string.format('%.0f %s', number, reply), 'EX', RECEIPT_SECONDS)
  return reply
end

-- The reply to give without doing anything, or nil if the batch is new and in time; `till` is in milliseconds.
local function dispatched(number, till)
  local last = redis.call('GET', KEYS[2])
  if last then
    local last_number, reply = last:match('^(%d+) (.*)$')
    last_number = tonumber(last_number)
    -- Written again, because WAITAOF waits only for the last write of its own connection.
    if last_number == number then return leave_receipt(number, reply) end
    if last_number > number then return 'stale' end
  end
  local time = redis.call('TIME')
  if time[1] * 1000 + time[2] / 1000 > till then return 'late' end
  return nil
end
