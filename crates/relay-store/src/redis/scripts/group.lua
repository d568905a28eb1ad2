-- group: makes the group of a stream of what waits again, at our cursor, whatever became of it.
-- KEYS: counters, the stream. ARGV: destination. Gives where it is now.
local cursor = redis.call('HGET', KEYS[1], 'cursor:' .. ARGV[1])
-- As Redis names entries (see `is_name` in the prelude); what does not read is as one that was lost.
local last_number = '18446744073709551615'
local function is_part(digits)
    return (digits == '0' or string.sub(digits, 1, 1) ~= '0') and (#digits < 20 or (#digits == 20 and digits <= last_number))
end
local ms, number = string.match(cursor or '', '^(%d+)-(%d+)$')
local is_one = ms and is_part(ms) and is_part(number) and cursor ~= last_number .. '-' .. last_number
cursor = is_one and cursor or '0-0'
local made = redis.pcall('XGROUP', 'CREATE', KEYS[2], 'relay', cursor, 'MKSTREAM')
if type(made) == 'table' and made.err then
    redis.call('XGROUP', 'SETID', KEYS[2], 'relay', cursor)
end
redis.call('HSET', KEYS[1], 'cursor:' .. ARGV[1], cursor)
return cursor
