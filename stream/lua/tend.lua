-- Moves a group's cursor to its low-water mark, and counts entries that were trimmed before the group read them.
--
-- KEYS  1 stream, 2 cursor, 3 totals
-- ARGV  1 group, 2 consumer (optional)
-- Result: { low-water mark, entries newly found lost }, or nil when there is no such group
--
-- The low-water mark is the ID below the smallest pending one, else the last delivered: acknowledgements come out
-- of order, so a group that is rebuilt must begin there. It follows the group, also back: to a stream that was flushed
-- and begun anew, or to where an operator has set the group.
--
-- Lost entries are found from the group's own count: of the entries ever added, those that are neither in the stream
-- nor were read are gone. Redis keeps the count right but for what the group jumped over, so it is compared where the
-- truth is known: before a gap (all that is in the stream lies ahead of the group) and where everything was read. There
-- the count is set right with XGROUP SETID, which also mends the lag that Redis shows. A group that Redis lost count of
-- (it began in the middle, or an unread entry was deleted) is counted again from the next such place on, without a
-- guess at what went before. Entries that somebody deletes (XDEL) before they are read are no different from trimmed
-- ones when they lie before a gap, and are not counted otherwise. Servers that do not count entries (before 7.0)
-- find none.
--
-- Nor is the count believed after a restart or a failover: Redis 7.0 neither persists nor replicates it with a read, so
-- that it falls back to what XGROUP SETID said last, and everything read since would pass for lost. Which server has
-- counted is kept as the field 'server:<group>:<stream>' of the totals; a server that finds another's name there counts
-- anew from the next place where the truth is known.
local function map(list)
  local m = {}
  for i = 1, #list, 2 do m[list[i]] = list[i + 1] end
  return m
end
-- IDs are compared and reduced as texts of digits: a number of Lua holds 53 bits of their 64.
local function parts(id)
  return string.match(id, '^(%d+)-(%d+)$')
end
local function below(a, b)
  return #a < #b or (#a == #b and a < b)
end
local function less(a, b)
  local ams, aseq = parts(a)
  local bms, bseq = parts(b)
  return below(ams, bms) or (ams == bms and below(aseq, bseq))
end
local function minusOne(digits)
  local head, digit, zeros = string.match(digits, '^(%d-)([1-9])(0*)$')
  local less1 = head .. (digit - 1) .. string.rep('9', #zeros)
  return string.match(less1, '^0*(%d+)$')
end
local function before(id)
  local ms, seq = parts(id)
  if seq ~= '0' then return ms .. '-' .. minusOne(seq) end
  if ms == '0' then return '0-0' end
  return minusOne(ms) .. '-18446744073709551615'
end

local stream, group = KEYS[1], ARGV[1]
local groups = redis.pcall('XINFO', 'GROUPS', stream)
if groups.err then
  if string.find(groups.err, 'no such key', 1, true) then return false end
  return groups
end
local g
for _, raw in ipairs(groups) do
  local m = map(raw)
  if m['name'] == group then g = m end
end
if not g then return false end
-- A sign of life: a read of new entries that finds none is no such sign for Redis 7.0, a read of what is pending here is,
-- and behind the last but one of all IDs it finds nothing.
if ARGV[2] then
  redis.pcall('XREADGROUP', 'GROUP', group, ARGV[2], 'COUNT', 1, 'STREAMS', stream, '18446744073709551615-18446744073709551614')
end
local last = g['last-delivered-id']
if not string.find(last, '-', 1, true) then last = last .. '-0' end -- miniredis keeps an ID as it was given

local lost = 0
local info = map(redis.call('XINFO', 'STREAM', stream))
local added, read, top = info['entries-added'], g['entries-read'], info['last-generated-id']
if added then
  local text = redis.pcall('INFO', 'server') -- an error where the user may not ask; then the count is believed
  local server = type(text) == 'string' and string.match(text, 'run_id:(%x+)')
  local field = 'server:' .. group .. ':' .. stream
  local counter = redis.pcall('HGET', KEYS[3], field)
  if server and not counter then
    redis.pcall('HSET', KEYS[3], field, server)
  elseif server and counter ~= server then
    read = nil
  end
  local must -- what the group's count must be, where that is known
  if not less(last, top) or info['length'] == 0 then
    must = added
  elseif info['first-entry'] and less(last, info['first-entry'][1]) then
    must = added - info['length']
  end
  if must and (not read or must > read) then
    redis.call('XGROUP', 'SETID', stream, group, last, 'ENTRIESREAD', must)
    if not read then
      if server then redis.pcall('HSET', KEYS[3], field, server) end
    else
      lost = must - read
      redis.pcall('HINCRBY', KEYS[3], 'trimmed:' .. group, lost)
    end
  end
end

local low = last
local p = redis.call('XPENDING', stream, group)
if p[1] > 0 then low = before(p[2]) end
if redis.call('GET', KEYS[2]) ~= low then redis.call('SET', KEYS[2], low) end
return { low, lost }
