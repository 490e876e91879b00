-- The last step of answers that are committed in steps: acknowledges their entries and counts.
--
-- KEYS  1 stream, 2 totals
-- ARGV  1 group, 2 how many were duplicates, 3 how many were written though pending nowhere, 4... entry IDs
-- Result: how many were acknowledged
local n = 0
if #ARGV > 3 then n = redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, 4)) end
if ARGV[2] ~= '0' then redis.pcall('HINCRBY', KEYS[2], 'duplicate:' .. ARGV[1], ARGV[2]) end
if ARGV[3] ~= '0' then redis.pcall('HINCRBY', KEYS[2], 'rescued:' .. ARGV[1], ARGV[3]) end
return n
