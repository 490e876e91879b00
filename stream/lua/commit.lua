-- Commits the answers to a batch of entries of one stream and group, one after the other.
--
-- KEYS  1 source stream, 2 destination stream, 3 totals, 4... the dedupe key of each item
-- ARGV  1 group, 2 consumer, 3 MAXLEN of the destination (0: do not trim), 4 TTL of dedupe keys in ms,
--       then for each item: entry ID and its VALUES values (see below)
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
--       any other text   the error of XADD: nothing was done, the entry is still pending
--
-- A script is atomic but is not rolled back when a command in it fails, so the write that can fail (XADD) comes
-- first, and its failure skips the rest of that item. Counting comes last and fails silently: a totals key of another
-- type must not make an answered batch look like a failed one. Sending the same batch again does no harm.
local stream, out, totals = KEYS[1], KEYS[2], KEYS[3]
local group, me, maxlen, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local result, acks, duplicates, rescued, now = {}, {}, 0, 0, nil
for i = 1, #KEYS - 3 do
  local a = 4 + (i - 1) * STRIDE
  local id, dedupe = ARGV[a + 1], KEYS[i + 3]
  -- NOGROUP, which is said of a missing stream too, counts as pending nowhere: p[1] is nil then
  local p = redis.pcall('XPENDING', stream, group, id, id, 1)
  if p.err and not string.find(p.err, 'NOGROUP', 1, true) then return p end
  local owner = p[1] and p[1][2]
  local done = redis.call('EXISTS', dedupe) == 1
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
        state = r.err
      else
        redis.call('SET', dedupe, '1', 'PX', ttl)
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
