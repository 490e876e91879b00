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
local stream, group, me = KEYS[1], ARGV[1], ARGV[2]
local n = #ARGV - 3
if n == 0 then return { 0, 0 } end
local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
if not first then return { 0, 0 } end
local function below(a, b)
  return #a < #b or (#a == #b and a < b)
end
local fms, fseq = string.match(first[1], '^(%d+)-(%d+)$')
local mine = {}
local p = redis.pcall('XPENDING', stream, group, ARGV[4], ARGV[#ARGV], n, me)
if p.err then return { 0, 0 } end
for _, e in ipairs(p) do mine[e[1]] = true end
local complete = #p < n
local args = { 'XCLAIM', stream, group, me, 0 }
local asked = 0
for i = 4, #ARGV do
  local id = ARGV[i]
  local ours = mine[id]
  if not ours and not complete then
    ours = redis.call('XPENDING', stream, group, id, id, 1, me)[1]
  end
  if ours then
    local ms, seq = string.match(id, '^(%d+)-(%d+)$')
    if below(fms, ms) or (fms == ms and not below(seq, fseq)) then
      asked = asked + 1
      args[#args + 1] = id
    end
  end
end
if asked == 0 then return { 0, 0 } end
args[#args + 1] = 'IDLE'
args[#args + 1] = ARGV[3]
args[#args + 1] = 'JUSTID'
local set = #redis.call(unpack(args))
if asked > set then redis.pcall('HINCRBY', KEYS[2], 'trimmed:' .. group, asked - set) end
return { set, asked - set }
