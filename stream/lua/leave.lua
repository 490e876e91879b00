-- Removes a consumer from its group if nothing is pending for it: XGROUP DELCONSUMER alone would drop what is.
--
-- KEYS  1 stream
-- ARGV  1 group, 2 consumer
-- Result: 1 when it was removed, else 0
local p = redis.pcall('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if p.err or #p > 0 then return 0 end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1
