-- Commits the answers to a batch of entries of one stream and group, one after the other.
--
-- KEYS  1 source stream, 2 destination stream, 3 totals, 4... the dedupe key of each item
-- ARGV  1 group, 2 consumer, 3 MAXLEN of the destination (0: do not trim), 4 TTL of dedupe keys in ms,
--       5 smallest and 6 largest entry ID of the batch, then for each item: entry ID and its VALUES values (see below)
-- Result: for each item one of
--       'W' written      the answer was added, the dedupe key set, the entry acknowledged
--       'D' duplicate    the dedupe key was there: only acknowledged, and counted
--       'T' trimmed      written although the entry is pending nowhere any more: it was trimmed away or
--                        its group was lost while it was in hand; counted as rescued, because whoever found
--                        it trimmed has counted it as trimmed already (claim.lua)
--       'F' fenced       another consumer owns the entry, or it is pending nowhere and too old for the
--                        dedupe key to tell: nothing was done
--       'U' unknown      pending nowhere and the dedupe key is there: it was answered, by a first attempt
--                        whose reply was lost or by somebody else: nothing was done
--       any other text   the error of XADD: nothing was done, the entry is still pending; that of a replica, which
--                        nothing can be written to, is the error of the whole, for the client to see
--
-- Most batches are entries that stand beside each other in the pending list and of which none was answered before, so
-- one XPENDING and one EXISTS for all come first, at a third of the cost; what they leave open is asked for each entry.
--
-- A script is atomic but is not rolled back when a command in it fails, so the write that can fail (XADD) comes
-- first, and its failure skips the rest of that item. Counting comes last and fails silently: a totals key of another
-- type must not make an answered batch look like a failed one. Sending the same batch again does no harm.
local stream, out, totals = KEYS[1], KEYS[2], KEYS[3]
local group, me, maxlen, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local result, acks, duplicates, rescued, now = {}, {}, 0, 0, nil
local n = #KEYS - 3
local mine, written = {}, {}
if n > 1 then
  -- twice as many: others of ours may stand between them
  local p = redis.pcall('XPENDING', stream, group, ARGV[5], ARGV[6], 2 * n, me)
  if not p.err then
    for i = 1, #p do mine[p[i][1]] = true end
  end
end
local fresh = redis.call('EXISTS', unpack(KEYS, 4)) == 0
for i = 1, n do
  local a = 6 + (i - 1) * STRIDE
  local id, dedupe = ARGV[a + 1], KEYS[i + 3]
  local owner
  if mine[id] then
    owner = me
  else
    -- NOGROUP, which is said of a missing stream too, counts as pending nowhere: p[1] is nil then
    local p = redis.pcall('XPENDING', stream, group, id, id, 1)
    if p.err and not string.find(p.err, 'NOGROUP', 1, true) then return p end
    if p[1] then owner = p[1][2] end
  end
  local done
  if fresh then done = written[dedupe] else done = redis.call('EXISTS', dedupe) == 1 end
  local state
  if owner and owner ~= me then
    state = 'F'
  elseif done then
    if owner then
      state, duplicates, acks[#acks + 1] = 'D', duplicates + 1, id
    else
      state = 'U'
    end
  else
    state = 'W'
    if not owner then
      now = now or redis.call('TIME')
      local ms = tonumber(string.match(id, '^%d+'))
      state = (now[1] * 1000 + now[2] / 1000 - ms <= tonumber(ttl)) and 'T' or 'F'
    end
    if state ~= 'F' then
      local r
      if maxlen == '0' then
        r = redis.pcall('XADD', out, '*', FIELDS)
      else
        r = redis.pcall('XADD', out, 'MAXLEN', '~', maxlen, '*', FIELDS)
      end
      if type(r) == 'table' and r.err then
        if string.find(r.err, 'READONLY', 1, true) then return r end
        state = r.err
      else
        redis.call('SET', dedupe, '1', 'PX', ttl)
        written[dedupe] = true
        if owner then
          acks[#acks + 1] = id
        else
          rescued = rescued + 1
        end
      end
    end
  end
  result[i] = state
end
if #acks > 0 then redis.call('XACK', stream, group, unpack(acks)) end
if duplicates > 0 then redis.pcall('HINCRBY', totals, 'duplicate:' .. group, duplicates) end
if rescued > 0 then redis.pcall('HINCRBY', totals, 'rescued:' .. group, rescued) end
return result
