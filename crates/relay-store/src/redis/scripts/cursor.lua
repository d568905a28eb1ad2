-- Where the group of a stream has read, and what its entries are named.

-- Whether an entry is named as Redis names it, by which names are compared: two numbers below 2^64, without a zero in front. Behind the
-- last of all nothing can be asked for.
local last_number = '18446744073709551615'
local function is_part(digits)
    return (digits == '0' or sub(digits, 1, 1) ~= '0') and (#digits < 20 or (#digits == 20 and digits <= last_number))
end
local function is_name(entry)
    local ms, number = match(entry, '^(%d+)-(%d+)$')
    return ms and is_part(ms) and is_part(number) and entry ~= last_number .. '-' .. last_number
end

-- Up to where the group of a destination's stream has read. What does not read is as one that was lost.
local function cursor_of(destination)
    local cursor = redis.call('HGET', counters, 'cursor:' .. destination)
    return cursor and is_name(cursor) and cursor or '0-0'
end

-- Whether a row is due later than its entry of the stream says: an entry names the millisecond in which it is due, or a later one.
local function is_behind_entry(row) return tonumber(due_of(row)) >= 1000 * (tonumber(match(row, '^%d+', 111)) + 1) end
