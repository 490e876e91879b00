-- Claims entries that were left behind, and counts those that were trimmed away while they were pending.
--
-- KEYS  1 stream, 2 totals
-- ARGV  1 group, 2 consumer, 3 min idle in ms, 4 cursor ('0-0' begins), 5 how many at most
-- Result: { next cursor, entries as {id, fields}, delivery counts in the same order, IDs that were trimmed }
local stream, group, me = KEYS[1], ARGV[1], ARGV[2]
local r = redis.call('XAUTOCLAIM', stream, group, me, ARGV[3], ARGV[4], 'COUNT', ARGV[5])
local entries, counts, gone = {}, {}, r[3] or {}
for _, e in ipairs(r[2]) do
  -- Redis 6 lists a trimmed entry with no fields; 7 drops it from the pending entries and names it in r[3]
  if e and e[2] then
    entries[#entries + 1] = e
    local p = redis.call('XPENDING', stream, group, e[1], e[1], 1)
    counts[#counts + 1] = p[1] and p[1][4] or 1
  end
end
if #gone > 0 then redis.pcall('HINCRBY', KEYS[2], 'trimmed:' .. group, #gone) end
return { r[1], entries, counts, gone }
