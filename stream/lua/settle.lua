-- Acknowledges entries of one stream and group that get no answer.
--
-- KEYS  1 stream, 2 totals
-- ARGV  1 group, 2 consumer, 3 what becomes of the entries: 'ack', or 'drop' which only touches entries that
--       this consumer owns and counts them, 4... entry IDs (at most 512)
-- Result: how many were acknowledged
local group, me, what = ARGV[1], ARGV[2], ARGV[3]
local ids = {}
for i = 4, #ARGV do
  if what == 'ack' then
    ids[#ids + 1] = ARGV[i]
  else
    local p = redis.pcall('XPENDING', KEYS[1], group, ARGV[i], ARGV[i], 1)
    if p.err and not string.find(p.err, 'NOGROUP', 1, true) then return p end
    if p[1] and p[1][2] == me then ids[#ids + 1] = ARGV[i] end
  end
end
if #ids == 0 then return 0 end
local n = redis.call('XACK', KEYS[1], group, unpack(ids))
if what == 'drop' and n > 0 then redis.pcall('HINCRBY', KEYS[2], 'dropped:' .. group, n) end
return n
