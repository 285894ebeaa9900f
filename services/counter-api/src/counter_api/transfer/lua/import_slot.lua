-- Sets counters of one slot of a cluster, and the slot's record, which says what has been set there.
--
-- KEYS[1]   the record of this import in this slot
-- KEYS[2..] the counters
-- ARGV[1]   how many counters of the import come before this batch
-- ARGV[2]   digest of all lines up to the end of this batch
-- ARGV[3]   seconds to keep the record
-- ARGV[4]   until when counters may be made (see creation.lua); 0 if there are none
-- ARGV[5..] value and time to live in seconds ('' for none) of each counter
-- Replies   'set', now or before | place, from 0, of the first counter whose key holds another program's data |
--           'unlisted': nothing was done, because it came too late

-- A later batch begins only when all slots of this batch are done. A batch that begins at the same place with other
-- lines was never acknowledged, so this batch replaces it.
local seen = redis.call('GET', KEYS[1])
if seen then
  local begin, digest = seen:match('^(%d+) (%x+)$')
  if tonumber(begin) > tonumber(ARGV[1]) or (begin == ARGV[1] and digest == ARGV[2]) then return 'set' end
end

if #KEYS > 1 and not listed(ARGV[4]) then return 'unlisted' end
local foreign = first_foreign()
if foreign then return foreign end
set_counters()
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2], 'EX', ARGV[3])
return 'set'
