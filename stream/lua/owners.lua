-- Says whose entries are, for answers that are committed in steps.
--
-- KEYS  1 stream
-- ARGV  1 group, 2 consumer, 3... entry IDs (at most 1,024)
-- Result: for each 'mine', 'other', or its age in ms as a text when it is pending nowhere
local now = redis.call('TIME')
local result = {}
for i = 3, #ARGV do
  local id = ARGV[i]
  local p = redis.pcall('XPENDING', KEYS[1], ARGV[1], id, id, 1)
  if p.err and not string.find(p.err, 'NOGROUP', 1, true) then return p end
  if not p[1] then
    local ms = tonumber(string.match(id, '^%d+'))
    result[#result + 1] = string.format('%.0f', now[1] * 1000 + now[2] / 1000 - ms)
  elseif p[1][2] == ARGV[2] then
    result[#result + 1] = 'mine'
  else
    result[#result + 1] = 'other'
  end
end
return result
