-- The first and the last step of a dead letter that is written in steps; between them the caller adds it to its stream.
--
-- KEYS  1 source stream, 2 totals, 3 mark of this entry and group
-- ARGV  1 group, 2 consumer, 3 entry ID, 4 TTL of the mark in ms, 5 'ask' or 'done'
-- Result of ask: 'D' already parked (acknowledged if it was pending here), 'F' fenced, 'U' pending nowhere and not parked,
--       else the server's time in seconds: the dead letter is to be written
-- Result of done: 'W'; the mark is set and the entry acknowledged
local stream, group, me, id = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
if ARGV[5] == 'done' then
  redis.call('SET', KEYS[3], '1', 'PX', ARGV[4])
  redis.call('XACK', stream, group, id)
  redis.pcall('HINCRBY', KEYS[2], 'dead:' .. group, 1)
  return 'W'
end
-- NOGROUP, which is said of a missing stream too, counts as pending nowhere: p[1] is nil then
local p = redis.pcall('XPENDING', stream, group, id, id, 1)
if p.err and not string.find(p.err, 'NOGROUP', 1, true) then return p end
local owner = p[1] and p[1][2]
if owner and owner ~= me then return 'F' end
if redis.call('EXISTS', KEYS[3]) == 1 then
  if owner then redis.call('XACK', stream, group, id) end
  return 'D'
end
if not owner then return 'U' end
return redis.call('TIME')[1]
