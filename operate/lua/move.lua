-- Moves a group, and its cursor with it, so that a group that is rebuilt begins where it was set.
--
-- KEYS  1 stream, 2 cursor
-- ARGV  1 group, 2 ID after which the group reads on
-- Result: the ID after which it would have read on otherwise, or nil when there is no such group
--
-- The cursor stays below what is pending: that is not done yet, wherever the group is moved.
local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end
local function less(a, b)
  local ams, aseq = parts(a)
  local bms, bseq = parts(b)
  return ams < bms or (ams == bms and aseq < bseq)
end
local stream, group, id = KEYS[1], ARGV[1], ARGV[2]
local groups = redis.pcall('XINFO', 'GROUPS', stream)
if groups.err then
  if string.find(groups.err, 'no such key', 1, true) then return false end
  return groups
end
local before
for _, raw in ipairs(groups) do
  local g = {}
  for i = 1, #raw, 2 do g[raw[i]] = raw[i + 1] end
  if g['name'] == group then before = g['last-delivered-id'] end
end
if not before then return false end

local cursor = id
local p = redis.call('XPENDING', stream, group)
if p[1] > 0 and not less(id, p[2]) then
  local ms, seq = string.match(p[2], '^(%d+)-(%d+)$')
  if seq ~= '0' then
    cursor = ms .. '-' .. string.format('%.0f', tonumber(seq) - 1)
  else
    cursor = string.format('%.0f', math.max(0, tonumber(ms) - 1)) .. '-18446744073709551615'
  end
end
redis.call('XGROUP', 'SETID', stream, group, id)
redis.call('SET', KEYS[2], cursor)
return before
