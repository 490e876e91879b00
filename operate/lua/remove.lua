-- Removes a consumer from its group. What is pending for it is handed to another first, or forbids it: XGROUP
-- DELCONSUMER alone would drop it.
--
-- KEYS  1 stream, 2 totals
-- ARGV  1 group, 2 consumer, 3 consumer that takes over what is pending ('': nobody), 4 idle time in ms that it gets
--       (long enough, so that any live consumer claims it), 5 how many at most in one call
-- Result: { handed over, trimmed away while pending, still pending, 1 when the consumer was removed else 0 }, or an
--       error when there is no such group; 'no consumer' or 'no heir' when one is not in the group
local stream, group, name, heir = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local known = {}
for _, raw in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
  local c = {}
  for i = 1, #raw, 2 do c[raw[i]] = raw[i + 1] end
  known[c['name']] = c['pending']
end
if not known[name] then return 'no consumer' end
local handed, trimmed, left = 0, 0, known[name]
if left > 0 and heir ~= '' then
  if not known[heir] then return 'no heir' end
  local args = { 'XCLAIM', stream, group, heir, 0 }
  local p = redis.call('XPENDING', stream, group, '-', '+', ARGV[5], name)
  for _, e in ipairs(p) do args[#args + 1] = e[1] end
  args[#args + 1] = 'IDLE'
  args[#args + 1] = ARGV[4]
  args[#args + 1] = 'JUSTID'
  handed = #redis.call(unpack(args))
  trimmed = #p - handed
  left = left - #p
  if trimmed > 0 then redis.pcall('HINCRBY', KEYS[2], 'trimmed:' .. group, trimmed) end
end
if left > 0 then return { handed, trimmed, left, 0 } end
redis.call('XGROUP', 'DELCONSUMER', stream, group, name)
return { handed, trimmed, 0, 1 }
