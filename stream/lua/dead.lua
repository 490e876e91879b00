-- Parks one entry as a dead letter and acknowledges it.
--
-- KEYS  1 source stream, 2 dead-letter stream, 3 totals, 4 mark of this entry and group
-- ARGV  1 group, 2 consumer, 3 entry ID, 4 MAXLEN (0: do not trim), 5 TTL of the mark in ms, 6 reason, 7 error,
--       8 failures, 9 raw, 10 stream and 11 entry ID that the dead letter names: those of the original when the entry is
--       a redriven one
-- Result: 'W' written, 'D' already parked (acknowledged if it was pending here), 'F' fenced, 'U' pending nowhere and not
--       parked: nothing was done; a group that was rebuilt will hand the entry out again
--
-- The mark keeps one entry of one group from being parked twice when a reply is lost or the group is rebuilt from
-- its cursor. XADD is the step that can fail and comes first.
local stream, group, me, id = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
-- NOGROUP, which is said of a missing stream too, counts as pending nowhere: p[1] is nil then
local p = redis.pcall('XPENDING', stream, group, id, id, 1)
if p.err and not string.find(p.err, 'NOGROUP', 1, true) then return p end
local owner = p[1] and p[1][2]
if owner and owner ~= me then return 'F' end
if redis.call('EXISTS', KEYS[4]) == 1 then
  if owner then redis.call('XACK', stream, group, id) end
  return 'D'
end
if not owner then return 'U' end
local fields = { 'reason', ARGV[6], 'error', ARGV[7], 'stream', ARGV[10], 'group', group,
  'entry_id', ARGV[11], 'failures', ARGV[8], 'ts_epoch', redis.call('TIME')[1], 'raw', ARGV[9] }
if ARGV[4] == '0' then
  redis.call('XADD', KEYS[2], '*', unpack(fields))
else
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', unpack(fields))
end
redis.call('SET', KEYS[4], '1', 'PX', ARGV[5])
redis.call('XACK', stream, group, id)
redis.pcall('HINCRBY', KEYS[3], 'dead:' .. group, 1)
return 'W'
