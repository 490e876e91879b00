-- Removes a consumer from its group if nothing is pending for it: XGROUP DELCONSUMER alone would drop what is.
--
-- KEYS  1 stream
-- ARGV  1 group, 2 consumer, 3 idle time in ms within which another consumer is taken to live (optional)
-- Result: 1 when it was removed, 2 when something is pending that another consumer can claim, else 0
local p = redis.pcall('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if p.err then return 0 end
if #p == 0 then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
  return 1
end
if not ARGV[3] then return 0 end
for _, raw in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local c = {}
  for i = 1, #raw, 2 do c[raw[i]] = raw[i + 1] end
  if c['name'] ~= ARGV[2] and c['idle'] < tonumber(ARGV[3]) then return 2 end
end
return 0
