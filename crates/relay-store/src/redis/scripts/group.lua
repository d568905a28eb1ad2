-- group: makes the group of a stream of what waits again, at our cursor, whatever became of it.
-- KEYS: counters, the stream. ARGV: destination. Gives where it is now.
local cursor = redis.call('HGET', KEYS[1], 'cursor:' .. ARGV[1])
-- As Redis names entries; what does not read is as one that was lost.
local is_one = cursor and string.match(cursor, '^%d+%-%d+$') and not string.match(cursor, '^0%d') and not string.match(cursor, '%-0%d')
cursor = is_one and cursor or '0-0'
local made = redis.pcall('XGROUP', 'CREATE', KEYS[2], 'relay', cursor, 'MKSTREAM')
if type(made) == 'table' and made.err then
    redis.call('XGROUP', 'SETID', KEYS[2], 'relay', cursor)
end
redis.call('HSET', KEYS[1], 'cursor:' .. ARGV[1], cursor)
return cursor
