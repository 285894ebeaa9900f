-- Applies a batch of operations to one counter: judges each in order, then writes once or not at all.
--
-- KEYS[1]  the counter
-- KEYS[2]  the sender's receipt (see receipt.lua)
-- KEYS[3…] idempotency records and series, as the operations refer to them
-- ARGV[1]  the batch, as JSON:
--   number    counts the sender's batches; a batch with the number of the last one is a copy of it
--   until     Redis' time, in milliseconds, after which nothing may be applied
--   receipt   true: leave a receipt even if nothing changes (earlier copies may be under way, or replicas must confirm)
--   keep      seconds to keep an idempotency record
--   listed    until when a missing counter may be made (see creation.lua), in milliseconds of Redis' time
--   series    [key, seconds of a bucket, seconds to keep it] of each series that an operation names
--   operations  each with one of
--     add     what to add; with `least` and `most`, what the counter may hold before; with `ttl`, seconds that a new
--             counter lives; with `series`, which of them to add to; with `joined` it stands for several
--     set     the new value
--     delete  the keys of all series
--             any of them with
--     match   the values that the counter may have before; true: the counter must exist
--     none    the values that the counter must not have before; true: the counter must not exist
--     once    [key of the record, fingerprint]
--   Numbers are pairs, as exact.lua has them.
-- Replies  one word for each operation, or one for all:
--   +n added to n   = set or deleted   c set, and made   ! the record is another payload's
--   <n refused, holding n   sin refused by its series i, which holds n   x absent
--   u un match or none does not hold (absent or holding n)   w another program's data
--   r and one of these, but not !: the reply in the record
--   split    nothing was done, because a joined operation is refused: send it unjoined
--   late     nothing was done, because it came too late
--   stale    nothing was done, because a later batch of this sender came before
--   unlisted nothing was done, because the counter does not exist and its name is not listed: list it and send again
--
-- Redis does not roll a script back, so everything is judged before the first write.

local batch = cjson.decode(ARGV[1])
local counter = KEYS[1]
local before = dispatched(batch.number, batch['until'])
if before then return before end
local now = tonumber(redis.call('TIME')[1])

local found = redis.pcall('GET', counter)
local high, low = 0, 0
local existed, foreign = false, type(found) == 'table'
if type(found) == 'string' then
  high, low = from_text(found)
  existed, foreign = true, not high
end

local exists = existed
local deleted, assigned, added, written = false, false, false, false
local sum_high, sum_low = 0, 0
local time_to_live = nil
local records, buckets = {}, {}

-- Its `high` is nil if the key holds another program's data.
local function bucket_of(series)
  local bucket = buckets[series]
  if not bucket then
    local key, step = batch.series[series][1], batch.series[series][2]
    bucket = {key = KEYS[key], start = now - now % step, high = 0, low = 0}
    local held = redis.pcall('HGET', bucket.key, string.format('%.0f', bucket.start))
    if type(held) == 'table' then
      bucket.high = nil
    elseif held and existed and not deleted then
      bucket.high, bucket.low = from_text(held)
    end
    buckets[series] = bucket
  end
  return bucket
end

local function is_one_of(values)
  if not exists then return false end
  if values == true then return true end
  for _, each in ipairs(values) do
    if each[1] == high and each[2] == low then return true end
  end
  return false
end

-- The reply if a precondition does not hold, else nil.
local function unmet(operation)
  if
    (operation.match == nil or is_one_of(operation.match))
    and (operation.none == nil or not is_one_of(operation.none))
  then
    return nil
  end
  return exists and 'u' .. to_text(high, low) or 'u'
end

-- The reply to an operation that has a record already, else nil.
local function replay(once)
  local record = once and (records[once[1]] or redis.call('GET', KEYS[once[1]]))
  if not record then return nil end
  local fingerprint, answered = record:match('^(%x+) (.+)$')
  if fingerprint ~= once[2] then return '!' end
  return 'r' .. answered
end

local function judge_add(operation)
  local refusal = unmet(operation)
  if refusal then return refusal end
  local by_high, by_low = operation.add[1], operation.add[2]
  local next_high, next_low = add(high, low, by_high, by_low)
  local least, most = operation.least, operation.most
  if
    not fits(next_high, next_low)
    or (least and less(high, low, least[1], least[2]))
    or (most and less(most[1], most[2], high, low))
  then
    return '<' .. to_text(high, low)
  end
  local fuller = {}
  for place, series in ipairs(operation.series or {}) do
    local bucket = bucket_of(series)
    if not bucket.high then return 'w' end
    local bucket_high, bucket_low = add(bucket.high, bucket.low, by_high, by_low)
    if not fits(bucket_high, bucket_low) then
      return string.format('s%.0f%s', place, to_text(bucket.high, bucket.low))
    end
    fuller[place] = {bucket, bucket_high, bucket_low}
  end
  for _, each in ipairs(fuller) do
    each[1].high, each[1].low, each[1].touched = each[2], each[3], true
  end
  local reply = '+' .. to_text(high, low)
  if not exists then time_to_live = operation.ttl end
  sum_high, sum_low = add(sum_high, sum_low, by_high, by_low)
  high, low, exists, added = next_high, next_low, true, true
  return reply
end

local function judge_set(operation)
  local refusal = unmet(operation)
  if refusal then return refusal end
  local reply = exists and '=' or 'c'
  if not exists then time_to_live = nil end
  high, low, exists, assigned = operation.set[1], operation.set[2], true, true
  return reply
end

local function judge_delete(operation)
  if not exists then return 'x' end
  local refusal = unmet(operation)
  if refusal then return refusal end
  deleted, exists, high, low, time_to_live, buckets = operation.delete, false, 0, 0, nil, {}
  return '='
end

local APPLIED = {['+'] = true, ['='] = true, ['c'] = true}
local replies = {}
for place, operation in ipairs(batch.operations) do
  local reply = replay(operation.once)
  if not reply then
    local judge = operation.add and judge_add or operation.set and judge_set or judge_delete
    reply = foreign and 'w' or judge(operation)
    local applied = APPLIED[reply:sub(1, 1)]
    if operation.joined and not applied and not foreign then
      return batch.receipt and leave_receipt(batch.number, 'split') or 'split'
    end
    if operation.once then records[operation.once[1]] = operation.once[2] .. ' ' .. reply end
    written = written or applied or operation.once ~= nil
  end
  replies[place] = reply
end
if exists and not existed and not listed(batch.listed) then
  return batch.receipt and leave_receipt(batch.number, 'unlisted') or 'unlisted'
end
local reply = table.concat(replies, ' ')

-- From here on only writes.

if deleted then
  redis.call('DEL', counter)
  for _, key in ipairs(deleted) do redis.call('DEL', KEYS[key]) end
end
if exists and not existed then forget_series(counter) end
if exists and (added or assigned) then
  local fresh = not existed or deleted
  if fresh and time_to_live then
    redis.call('SET', counter, to_text(high, low), 'EX', time_to_live)
  elseif assigned or deleted or not fits(sum_high, sum_low) then
    redis.call('SET', counter, to_text(high, low), 'KEEPTTL')
  else
    redis.call('INCRBY', counter, to_text(sum_high, sum_low))
  end
end
for series, bucket in pairs(buckets) do
  if bucket.touched then
    local keep = batch.series[series][3]
    local field = string.format('%.0f', bucket.start)
    if redis.call('HSET', bucket.key, field, to_text(bucket.high, bucket.low)) == 1 then
      for _, start in ipairs(redis.call('HKEYS', bucket.key)) do
        if tonumber(start) <= bucket.start - keep then redis.call('HDEL', bucket.key, start) end
      end
      redis.call('EXPIRE', bucket.key, keep + batch.series[series][2])
    end
  end
end
for key, record in pairs(records) do redis.call('SET', KEYS[key], record, 'EX', batch.keep) end
if written or batch.receipt then leave_receipt(batch.number, reply) end
return reply
