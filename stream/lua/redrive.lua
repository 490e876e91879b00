-- Sends one dead letter back: adds its entry to the redrive stream and deletes the dead letter, so that it is sent
-- once.
--
-- KEYS  1 redrive stream, 2 dead-letter stream, 3 totals; without the last two only the redrive stream is written to:
--       on a Cluster they may lie elsewhere, and the caller deletes the dead letter then
-- ARGV  1 ID of the dead letter, 2 group that gave it up, 3... names and values of the entry (at most 6,000)
-- Result: ID of the entry in the redrive stream, or nil when there is no such dead letter (any more)
--
-- XADD is the step that can fail, and nothing is deleted before it. The group is created first, at the beginning of
-- the stream: a redriven entry waits for a group whose workers have not yet started.
--
-- Counting fails silently. Last the redrive stream is cleaned: what every group has read and acknowledged is trimmed away, and nothing else. So
-- it is as long as what is on its way, without a MAXLEN that could take something unread.
local redrive, dead, group = KEYS[1], KEYS[2], ARGV[2]
if dead and #redis.call('XRANGE', dead, ARGV[1], ARGV[1]) == 0 then return false end
local made = redis.pcall('XGROUP', 'CREATE', redrive, group, '0', 'MKSTREAM')
if made.err and not string.find(made.err, 'BUSYGROUP', 1, true) then return made end
local id = redis.call('XADD', redrive, '*', unpack(ARGV, 3))
if dead then
  redis.call('XDEL', dead, ARGV[1])
  redis.pcall('HINCRBY', KEYS[3], 'redriven:' .. group, 1)
end

local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end
local function less(a, b)
  local ams, aseq = parts(a)
  local bms, bseq = parts(b)
  return ams < bms or (ams == bms and aseq < bseq)
end
local keep = id
for _, raw in ipairs(redis.call('XINFO', 'GROUPS', redrive)) do
  local g = {}
  for i = 1, #raw, 2 do g[raw[i]] = raw[i + 1] end
  local low = g['last-delivered-id']
  local p = redis.call('XPENDING', redrive, g['name'])
  if p[1] > 0 and less(p[2], low) then low = p[2] end
  if less(low, keep) then keep = low end
end
redis.call('XTRIM', redrive, 'MINID', keep)
return id
