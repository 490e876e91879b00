-- Counts entries without sending them.
--
-- KEYS  1 stream
-- ARGV  1 first ID, 2 last ID, 3 how many at most
-- Result: { how many, ID of the first, ID of the last }, or nil when there are none
local e = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', ARGV[3])
if #e == 0 then return false end
return { #e, e[1][1], e[#e][1] }
