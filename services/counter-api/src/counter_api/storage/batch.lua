-- Applies a batch of operations to one counter: judges each in order, then writes once, or does nothing.
--
-- KEYS[1]  the counter
-- KEYS[2]  the sender's receipt (see receipt.lua)
-- KEYS[3…] idempotency records and series, as the operations refer to them
-- ARGV[1]  the batch, as JSON:
--   number    counts the sender's batches; the same one again is a repetition
--   until     Redis' time, in milliseconds, after which nothing may be applied any more
--   receipt   true: leave a receipt even if nothing changes (earlier copies may be under way; replicas are waited for)
--   keep      seconds to keep an idempotency record
--   listed    until when a counter may be made that is not there (see creation.lua), in milliseconds of Redis' time
--   series    [key, seconds of a bucket, seconds to keep it] of each that an operation names
--   operations  each with one of
--     add     what to add; with `least` and `most`, what the counter may hold before; with `ttl`, seconds that a new
--             counter lives; with `series`, which of them to add to; with `joined` it stands for several
--     set     the new value
--     delete  the keys of all series
--             set and delete with `match`: the values it may have before; true: it exists
--     once    [key of the record, fingerprint], in any of them
--   Numbers are pairs, as exact.lua has them.
-- Replies  one word for each operation, or one for all:
--   +n added to n   = set or deleted   rn done before, with the result n   ! the record is another payload's
--   <n refused, holding n   sin refused by series i, which holds n   x absent   u un not matched (absent or holding n)
--   w no counter's data
--   split    a joined operation is refused: nothing was done, send it unjoined
--   late     nothing was done, because it came too late
--   stale    nothing was done, because a later batch of this sender was here before
--   unlisted nothing was done, because the counter is not there and its name is not listed: list it, and send it again
--
-- Redis does not roll a script back: everything is judged before the first write.

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
local deleted, assigned, added, changed = false, false, false, false
local sum_high, sum_low = 0, 0
local time_to_live = nil
local records, buckets = {}, {}

local function bucket_of(series)
  local bucket = buckets[series]
  if not bucket then
    local key, step = batch.series[series][1], batch.series[series][2]
    bucket = {key = KEYS[key], start = now - now % step, high = 0, low = 0}
    local held = redis.call('HGET', bucket.key, string.format('%.0f', bucket.start))
    if held and existed and not deleted then bucket.high, bucket.low = from_text(held) end
    buckets[series] = bucket
  end
  return bucket
end

local function matches(match)
  if not exists then return false end
  if match == true then return true end
  for _, accepted in ipairs(match) do
    if accepted[1] == high and accepted[2] == low then return true end
  end
  return false
end

-- The reply to an operation whose record is there already, or nil.
local function replay(once)
  local record = once and (records[once[1]] or redis.call('GET', KEYS[once[1]]))
  if not record then return nil end
  local fingerprint, value = record:match('^(%x+) (.+)$')
  if fingerprint ~= once[2] then return '!' end
  return 'r' .. value
end

local function remember(once)
  if once then records[once[1]] = once[2] .. ' ' .. (exists and to_text(high, low) or '0') end
end

local function judge_add(operation)
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
    local bucket_high, bucket_low = add(bucket.high, bucket.low, by_high, by_low)
    if not fits(bucket_high, bucket_low) then
      return string.format('s%.0f%s', series, to_text(bucket.high, bucket.low))
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
  if operation.match ~= nil and not matches(operation.match) then
    return exists and 'u' .. to_text(high, low) or 'u'
  end
  if not exists then time_to_live = nil end
  high, low, exists, assigned = operation.set[1], operation.set[2], true, true
  return '='
end

local function judge_delete(operation)
  if not exists then return 'x' end
  if operation.match ~= nil and not matches(operation.match) then return 'u' .. to_text(high, low) end
  deleted, exists, high, low, time_to_live, buckets = operation.delete, false, 0, 0, nil, {}
  return '='
end

local replies = {}
for place, operation in ipairs(batch.operations) do
  local reply = replay(operation.once)
  if not reply and foreign then reply = 'w' end
  if not reply then
    local judge = operation.add and judge_add or operation.set and judge_set or judge_delete
    reply = judge(operation)
    local first = reply:sub(1, 1)
    if first == '+' or first == '=' then
      changed = true
      remember(operation.once)
    elseif operation.joined then
      return batch.receipt and leave_receipt(batch.number, 'split') or 'split'
    end
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
if changed or batch.receipt then leave_receipt(batch.number, reply) end
return reply
