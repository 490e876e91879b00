-- Takes permits of a limit that all workers share. The limit is a moment, in µs of the server's clock, up to which the
-- permits are given out: each permit moves it on by one interval (the generic cell rate algorithm). A limit that was
-- not used lies in the past and gives no more than a burst at once. One that lies further ahead than a hundred workers
-- could have moved it by one call each, and some seconds, is of another clock or of a lower limit: it counts as now.
--
-- KEYS  1 the moment; expires when it could make no difference any more
-- ARGV  1 interval of one permit in µs, a fraction is allowed, 2 permits wanted, 3 burst in permits
-- Result: µs until the first of the permits may be used; the others follow one interval apart
local interval, n, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local free = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now - interval * burst)
if free > now + 100 * interval * n + 3000000 then free = now end
local after = free + interval * n
redis.call('SET', KEYS[1], string.format('%.3f', after), 'PX', math.ceil(math.max(after - now, 0) / 1000 + interval * burst / 1000) + 1000)
return math.ceil(free - now)
