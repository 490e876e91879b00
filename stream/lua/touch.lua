-- Sets the idle time of entries that this consumer still owns: 0 keeps them from being claimed, a long one hands
-- them back at once.
--
-- KEYS  1 stream, 2 totals
-- ARGV  1 group, 2 consumer, 3 idle time in ms, 4... entry IDs in ascending order (at most 512)
-- Result: { how many were set, how many of them are not in the stream any more }
--
-- XCLAIM alone would steal back what another consumer has claimed. So it is given only what is ours, and nothing older
-- than the stream's first entry: XCLAIM drops from the pending entries what was trimmed, and what is in hand here may
-- still be answered. What was deleted from the middle of the stream it drops all the same; that is counted as
-- trimmed. An IDLE beyond the server's clock would silently become 0; the caller keeps it small.
--
-- Where nobody else has anything pending, all that is pending is ours, and XCLAIM passes over the rest: that saves a
-- third of the time, which is what 50,000 waiting entries cost Redis every third of min idle.
local stream, group, me = KEYS[1], ARGV[1], ARGV[2]
local n = #ARGV - 3
if n == 0 then return { 0, 0 } end
local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
if not first then return { 0, 0 } end
local before = redis.pcall('XPENDING', stream, group)
if before.err or before[1] == 0 then return { 0, 0 } end
local alone = #before[4] == 1 and before[4][1][1] == me
local mine, complete = {}, true
if not alone then
  local p = redis.pcall('XPENDING', stream, group, ARGV[4], ARGV[#ARGV], n, me)
  if p.err then return { 0, 0 } end
  for _, e in ipairs(p) do mine[e[1]] = true end
  complete = #p < n
end
local fms, fseq = string.match(first[1], '^(%d+)-(%d+)$')
local function trimmed(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  if ms == fms then return #seq < #fseq or (#seq == #fseq and seq < fseq) end
  return #ms < #fms or (#ms == #fms and ms < fms)
end
local args = { 'XCLAIM', stream, group, me, 0 }
local old = true -- this one may be older than the stream's first; when one is not, no later one is
for i = 4, #ARGV do
  local id = ARGV[i]
  local ours = alone or mine[id]
  if not ours and not complete then
    ours = redis.call('XPENDING', stream, group, id, id, 1, me)[1]
  end
  if ours then
    old = old and trimmed(id)
    if not old then args[#args + 1] = id end
  end
end
if #args == 5 then return { 0, 0 } end
args[#args + 1] = 'IDLE'
args[#args + 1] = ARGV[3]
args[#args + 1] = 'JUSTID'
local set = #redis.call(unpack(args))
local gone = before[1] - redis.call('XPENDING', stream, group)[1]
if gone > 0 then redis.pcall('HINCRBY', KEYS[2], 'trimmed:' .. group, gone) end
return { set, gone }
