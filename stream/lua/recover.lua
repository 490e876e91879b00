-- Fetches entries again that this consumer owns but does not have, because the reply that brought them was lost.
--
-- KEYS  1 stream, 2 totals
-- ARGV  1 group, 2 consumer, 3... entry IDs (at most 512)
-- Result: { entries as {id, fields}, delivery counts in the same order, IDs that were trimmed }
local stream, group, me = KEYS[1], ARGV[1], ARGV[2]
local entries, counts, gone = {}, {}, {}
for i = 3, #ARGV do
  local id = ARGV[i]
  local p = redis.call('XPENDING', stream, group, id, id, 1, me)
  if p[1] then
    local e = redis.call('XRANGE', stream, id, id)[1]
    if e then
      redis.call('XCLAIM', stream, group, me, 0, id, 'JUSTID')
      entries[#entries + 1] = e
      counts[#counts + 1] = p[1][4]
    else
      redis.call('XACK', stream, group, id)
      gone[#gone + 1] = id
    end
  end
end
if #gone > 0 then redis.pcall('HINCRBY', KEYS[2], 'trimmed:' .. group, #gone) end
return { entries, counts, gone }
