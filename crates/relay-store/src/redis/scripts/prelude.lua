-- What all scripts that touch rows share. KEYS[1] is the hash of counters, in whose partition all else is; KEYS[2] the stream of
-- dead letters. Offsets are those of docs/internals/redis.md, from 0. Scripts copy bytes, compare, and reckon with moments and counts
-- only; versions and fences rise by one, in halves of 32 bits.
local counters, dead_letters = KEYS[1], KEYS[2]
local prefix = string.sub(counters, 1, -2)
local group, track, generation = 'relay', ':0', ':1'

local function key(kind, of, behind) return prefix .. kind .. of .. (behind or '') end

local function cut(row, at, length) return string.sub(row, at + 1, at + length) end
local function put(row, at, bytes) return string.sub(row, 1, at) .. bytes .. string.sub(row, at + 1 + #bytes) end
local blanks = string.rep(' ', 33)
local function pad(entry) return entry .. string.sub(blanks, #entry + 1) end
local function unpad(text) return string.match(text, '^%S*') end

local function state_of(row) return cut(row, 1, 1) end
local function place_of(row) return cut(row, 2, 1) end
local function version_of(row) return cut(row, 4, 8) end
local function fence_of(row) return cut(row, 12, 16) end
local function due_of(row) return cut(row, 28, 16) end
local function expiry_of(row) return cut(row, 44, 16) end
local function change_of(row) return cut(row, 60, 16) end
local function tries_of(row) return tonumber(cut(row, 84, 10)) end
local function event_of(row) return cut(row, 94, 16) end
local function entry_of(row) return unpad(cut(row, 110, 33)) end
local function listed_at(row) return unpad(cut(row, 143, 33)) end
local function instance_of(row) return cut(row, 176, 16) end
local function keeper_of(row) return cut(row, 192, 8) end
local function until_of(row) return cut(row, 212, 16) end
local function names_of(row)
    local length = string.byte(row, 243)
    local source = string.byte(row, 244 + length)
    return string.sub(row, 244, 243 + length), string.sub(row, 245 + length, 244 + length + source)
end

local function parts_of(entry)
    local ms, number = string.match(entry, '^(%d+)-(%d+)$')
    return tonumber(ms), tonumber(number)
end

-- Whether an entry is named as Redis names it, by which names are compared: two numbers below 2^64, without a zero in front. Behind the
-- last of all nothing can be asked for.
local last_number = '18446744073709551615'
local function is_part(digits)
    return (digits == '0' or string.sub(digits, 1, 1) ~= '0') and (#digits < 20 or (#digits == 20 and digits <= last_number))
end
local function is_name(entry)
    local ms, number = string.match(entry, '^(%d+)-(%d+)$')
    return ms and is_part(ms) and is_part(number) and entry ~= last_number .. '-' .. last_number
end

-- What ids are minted past, and the latest moment, stand in counters twice: as they are, and digit by digit as what is missing to nine.
-- Nothing is believed of what does not agree.
local nines = {}
for digit = 0, 9 do
    nines[tostring(digit)] = tostring(9 - digit)
end
local function twice(digits) return digits .. (string.gsub(digits, '%d', nines)) end
local function once(text, length)
    local digits = string.match(string.sub(text or '', 1, length), '^%d+$')
    return digits and #digits == length and twice(digits) == text and digits or nil
end
-- A number that HINCRBY takes.
local function is_count(text) return text == '0' or (#text < 16 and string.match(text, '^%-?[1-9]%d*$') ~= nil) end

-- What a reading command answers; nothing of a key of another type. Any other refusal ends the script before it has written anything: a
-- key that has left for another node is not one that is not there.
local function asked(...)
    local answer = redis.pcall(...)
    if type(answer) ~= 'table' or not answer.err then return answer end
    if string.find(answer.err, 'WRONGTYPE', 1, true) then return nil end
    return redis.call(...)
end

-- A row as it stands there, read once; nothing if that is none.
local rows = {}
local function load(id)
    if rows[id] == nil then
        local row = asked('GET', key('d:', id))
        rows[id] = type(row) == 'string' and row or false
    end
    return rows[id] or nil
end
local function keep(id, row)
    redis.call('SET', key('d:', id), row)
    rows[id] = row
end
local function is_blank_or_entry(text) return string.match(text, '^%d+%-%d+ *$') or string.match(text, '^ *$') end
-- Whether a row can be reckoned with. Whether it is what was written, its reader finds out.
local function is_whole(row)
    if #row < 246 or cut(row, 0, 1) ~= '1' then
        return false
    end
    local source_at = 244 + string.byte(row, 243)
    return tonumber(due_of(row)) and tonumber(expiry_of(row)) and tonumber(change_of(row)) and tries_of(row)
        and is_blank_or_entry(cut(row, 110, 33)) and is_blank_or_entry(cut(row, 143, 33))
        and source_at < #row and source_at + string.byte(row, source_at) < #row
end

-- Whether a row that can be reckoned with holds nothing that a later version means by it: of its record, behind the names and their CRC, the
-- version, the flags, and the number of its job.
local function is_understood(row)
    local source_at = 244 + string.byte(row, 243)
    local at = source_at + string.byte(row, source_at) + 5
    local version, _, _, low, high = string.byte(row, at, at + 4)
    return version == 1 and (low or 16) < 16 and high == 0 and string.sub(row, at + 45, at + 48) == '\0\0\0\0'
end

-- A row without what says where it stands: that alone is written by scripts, and is under no seal.
local function without_places(row) return string.sub(row, 1, 2) .. string.sub(row, 4, 110) .. string.sub(row, 177) end

-- What a script is going to write is of its type, or not there: a script that fails half way is not undone. So each looks first.
local are_right = {}
local function must_be(of_type, name)
    if not are_right[name] then
        local found = redis.call('TYPE', name)['ok']
        if found ~= of_type and found ~= 'none' then
            error(redis.error_reply('SPOILT ' .. name .. ' is a ' .. found .. ' and not a ' .. of_type))
        end
        are_right[name] = true
    end
end

local function raised(eight)
    local high, low = struct.unpack('>I4I4', eight)
    if low == 4294967295 then
        high, low = high + 1, -1
    end
    return struct.pack('>I4I4', high, low + 1)
end

-- Whether an id comes before another: by its bytes, and not, as strings compare here, by the machine's language.
local function is_before(one, other)
    for at = 1, 13, 4 do
        local mine, than = struct.unpack('>I4', one, at), struct.unpack('>I4', other, at)
        if mine ~= than then
            return mine < than
        end
    end
    return false
end

-- The millisecond that an id was minted in.
local function minted(id)
    local high, low = struct.unpack('>I4I2', id)
    return high * 65536 + low
end

-- Where an id stands among those of its millisecond, as `Place::of_id` has it.
local function number_of(id)
    local counter = string.byte(id, 7) % 16 * 256 + string.byte(id, 8)
    local high, low = struct.unpack('>I4I4', id, 9)
    return counter * 1099511627776 + high % 1073741824 * 1024 + math.floor(low / 4194304)
end

-- Milliseconds of a moment.
local function millis(moment) return string.format('%.0f', math.floor(tonumber(moment) / 1000)) end
-- Whether a row is due later than its entry of the stream says: an entry names the millisecond in which it is due, or a later one.
local function is_behind_entry(row) return tonumber(millis(due_of(row))) > parts_of(entry_of(row)) end

-- Adds to a stream under this name; where that lies before the last entry, behind that one, in its millisecond.
local function add(stream, name, ...)
    local entry = redis.pcall('XADD', stream, name, ...)
    if type(entry) == 'table' then
        local info = redis.call('XINFO', 'STREAM', stream)
        for at = 1, #info, 2 do
            if info[at] == 'last-generated-id' then
                entry = redis.call('XADD', stream, string.match(info[at + 1], '^%d+') .. '-*', ...)
            end
        end
    end
    return entry
end

-- Counters move once for a script, whatever it counted.
local moved = {}
local function count(field, by) moved[field] = (moved[field] or 0) + by end
local function count_source(source, what, by) count('s:' .. source .. ':' .. what, by) end
local function count_destination(destination, what, by) count('d:' .. destination .. ':' .. what, by) end

local latest, floor = nil, nil
local function saw(moment)
    if not latest or tonumber(latest) < tonumber(moment) then
        latest = moment
    end
end
local function is_above(one, other)
    local ms, than = tonumber(string.sub(one, 1, 16)), tonumber(string.sub(other, 1, 16))
    return ms > than or (ms == than and tonumber(string.sub(one, 17)) > tonumber(string.sub(other, 17)))
end
local function holds_id(sequence)
    if not floor or is_above(sequence, floor) then
        floor = sequence
    end
end

-- What a recount has passed already is moved in its tally, too, and with the counters: see `recount`.
local tally = key('tally', '')
local recounted = {}
local function recount(field, by) recounted[field] = (recounted[field] or 0) + by end
local passed, is_tally_spoilt = nil, false
local function is_passed(of, ms, number)
    if passed == nil then
        passed = redis.pcall('HMGET', tally, 'run', 'of', 'ms', 'number')
    end
    if not passed[1] then
        return false
    elseif passed[2] == of then
        local at, last = tonumber(passed[3]), tonumber(passed[4])
        is_tally_spoilt = not at or not last
        return not is_tally_spoilt and (ms < at or (ms == at and number <= last))
    end
    return redis.call('HEXISTS', tally, 'done:' .. of) == 1
end
local function recount_delivery(id, row, destination, by)
    local of, listed = 'd:' .. destination, listed_at(row)
    local ms, number
    if listed ~= '' then
        ms, number = parts_of(listed)
    else
        ms, number = minted(id), number_of(id)
    end
    if is_passed(of, ms, number) then
        recount(of .. ':' .. state_of(row), by)
    end
end
local function recount_event(listed, source, by)
    if is_passed('s:' .. source, parts_of(listed)) then
        recount('s:' .. source, by)
    end
end

-- What waits for its first lease expires like all that waits: put there together, for each destination.
local expiries = {}
local function will_expire(id, row, destination)
    local of = expiries[destination] or {}
    expiries[destination] = of
    of[#of + 1] = expiry_of(row)
    of[#of + 1] = id
end

-- Moves what is counted in a hash; gives what is no number there, which stays as it is.
local function move(hash, by_field)
    local spoilt = {}
    for field, by in pairs(by_field) do
        if by ~= 0 and type(redis.pcall('HINCRBY', hash, field, by)) == 'table' then
            spoilt[#spoilt + 1] = field
        end
    end
    return spoilt
end

-- Last of all: what was counted and seen. What is spoilt there refuses nothing: it is marked, and whoever glances counts again.
local function tell()
    for destination, of in pairs(expiries) do
        redis.call('ZADD', key('exp:', destination), unpack(of))
    end
    local kept = redis.call('HMGET', counters, 'latest', 'floor')
    local known_latest, known_floor = once(kept[1], 16), once(kept[2], 20)
    local spoilt, set = move(counters, moved), {}
    if kept[1] and not known_latest then
        spoilt[#spoilt + 1] = 'latest'
    end
    if kept[2] and not known_floor then
        spoilt[#spoilt + 1] = 'floor'
    end
    for _, field in ipairs(spoilt) do
        set[#set + 1] = 'spoilt:' .. field
        set[#set + 1] = 1
    end
    if latest and (not known_latest or tonumber(known_latest) < tonumber(latest)) then
        set[#set + 1] = 'latest'
        set[#set + 1] = twice(latest)
    end
    if floor and (not known_floor or is_above(floor, known_floor)) then
        set[#set + 1] = 'floor'
        set[#set + 1] = twice(floor)
    end
    if #set > 0 then
        redis.call('HSET', counters, unpack(set))
    end
    -- A tally that is spoilt counts nothing any more: whoever counts begins anew.
    if #move(tally, recounted) > 0 or is_tally_spoilt then
        redis.call('DEL', tally)
    end
end

-- Up to where the group of a destination's stream has read. What does not read is as one that was lost.
local function cursor_of(destination)
    local cursor = redis.call('HGET', counters, 'cursor:' .. destination)
    return cursor and is_name(cursor) and cursor or '0-0'
end

-- Where a row will stand that is put into the indexes of its state.
local function place_for(row)
    local state = state_of(row)
    if state == '1' or state == '2' then
        return tries_of(row) == 0 and 'b' or 'd'
    elseif state == '3' then
        return 'l'
    end
    return (state == '5' or state == '6') and 'e' or 'o'
end

-- Looks whether a row can be taken out of the indexes of a place, or put there.
local stands_at_last = {
    r = function(of) must_be('stream', key('ready:', of, track .. generation)) end,
    b = function(of) must_be('zset', key('back:', of, track)) end,
    d = function(of)
        must_be('zset', key('due:', of, track))
        must_be('zset', key('tries:', of, track))
    end,
    l = function(of)
        must_be('zset', key('leases', ''))
        must_be('stream', key('ready:', of, track .. generation))
    end,
    e = function(of)
        must_be('zset', key('ended:', of))
        must_be('zset', key('made:', of))
        must_be('stream', key('log:', of))
    end,
    o = function(of) must_be('stream', key('done:', of)) end,
}
local function check_place(place, destination)
    local of = place .. destination
    if are_right[of] then
        return
    end
    if place ~= 'l' and place ~= 'e' and place ~= 'o' then
        must_be('zset', key('exp:', destination))
    end
    local check = stands_at_last[place] or stands_at_last.b
    check(destination)
    must_be('hash', counters)
    are_right[of] = true
end

-- An entry of a stream. A row whose place somebody spoilt names none, and XDEL refuses that, behind what is written by then.
local function take_entry(stream, entry)
    if entry ~= '' then
        redis.call('XDEL', stream, entry)
    end
end

-- Takes what waits out of wherever that may be: its row says no place, or another than it has.
local function leave_anywhere(id, row, destination)
    redis.pcall('XDEL', key('ready:', destination, track .. generation), entry_of(row))
    redis.pcall('ZREM', key('due:', destination, track), id)
    redis.pcall('ZREM', key('tries:', destination, track), due_of(row) .. id)
    redis.pcall('ZREM', key('back:', destination, track), id)
end

-- Takes a row out of the indexes of the place it stands in.
local function leave(id, row, destination)
    local place, entry = place_of(row), entry_of(row)
    if place == 'l' then
        redis.call('ZREM', key('leases', ''), id .. instance_of(row))
        if entry ~= '' then
            local ready = key('ready:', destination, track .. generation)
            redis.call('XACK', ready, group, entry)
            redis.call('XDEL', ready, entry)
        end
    elseif place == 'e' then
        redis.call('ZREM', key('ended:', destination), id)
        -- Whatever others made of that stream keeps nothing from its end.
        redis.pcall('XDEL', dead_letters, entry)
    elseif place == 'o' then
        take_entry(key('done:', destination), entry)
    else
        redis.call('ZREM', key('exp:', destination), id)
        if place == 'r' and entry ~= '' then
            redis.call('XDEL', key('ready:', destination, track .. generation), entry)
        elseif place == 'd' and entry == '' then
            redis.call('ZREM', key('due:', destination, track), id)
            redis.call('ZREM', key('tries:', destination, track), due_of(row) .. id)
        elseif place == 'b' and entry == '' then
            redis.call('ZREM', key('back:', destination, track), id)
        else
            leave_anywhere(id, row, destination)
        end
    end
end

-- Whether an entry of a stream is that of an id.
local function is_entry(stream, entry, id)
    local found = entry ~= '' and redis.call('XRANGE', stream, entry, entry)[1]
    return found and found[2][2] == id
end
local function has_score(set, member, score) return tonumber(redis.call('ZSCORE', set, member)) == tonumber(score) end

local function stands(row, place, entry)
    return string.sub(row, 1, 2) .. place .. string.sub(row, 4, 110) .. pad(entry) .. string.sub(row, 144)
end

local function named(kind, id)
    local hex = string.gsub(id, '.', function(byte) return string.format('%02x', string.byte(byte)) end)
    return kind .. string.gsub(hex, '^(%x%x%x%x%x%x%x%x)(%x%x%x%x)(%x%x%x%x)(%x%x%x%x)', '%1-%2-%3-%4-')
end

-- Dead letters leave the stream of their listing: one that keeps a few of its entries keeps most of its memory.
local function bury(id, row, destination, source)
    local entry = redis.pcall('XADD', dead_letters, '*', 'delivery', named('dlv_', id), 'event',
        named('evt_', event_of(row)), 'source', source, 'destination', destination, 'state', state_of(row))
    entry = type(entry) == 'string' and entry or ''
    redis.call('ZADD', key('ended:', destination), change_of(row), id)
    local listed = listed_at(row)
    if listed ~= '' then
        redis.call('XDEL', key('log:', destination), listed)
        redis.call('ZADD', key('made:', destination), minted(id), id)
        row = put(row, 143, pad(''))
    end
    return stands(row, 'e', entry)
end

-- Puts a row into the indexes of its state; gives it with its place in them.
local function enter(id, row, destination, source)
    local place = place_for(row)
    if place == 'b' or place == 'd' then
        redis.call('ZADD', key('exp:', destination), expiry_of(row), id)
        if place == 'b' then
            redis.call('ZADD', key('back:', destination, track), due_of(row), id)
            return stands(row, 'b', '')
        end
        redis.call('ZADD', key('due:', destination, track), due_of(row), id)
        redis.call('ZADD', key('tries:', destination, track), tries_of(row), due_of(row) .. id)
        return stands(row, 'd', '')
    elseif place == 'l' then
        redis.call('ZADD', key('leases', ''), until_of(row), id .. instance_of(row))
        return stands(row, 'l', '')
    elseif place == 'e' then
        return bury(id, row, destination, source)
    end
    local entry = add(key('done:', destination), millis(change_of(row)) .. '-*', 'i', id)
    return stands(row, 'o', entry)
end

-- Due times of the last that was put into each stream of what waits.
local lasts = {}
local function is_in_turn(row, destination)
    if place_of(row) ~= 'r' then
        return false
    end
    local last = lasts[destination] or redis.call('HGET', counters, 'last:' .. destination)
    return not last or tonumber(due_of(row)) >= (tonumber(last) or 0) - 1000000
end

-- Looks whether a row can be stored.
local function check_new(row)
    local destination = names_of(row)
    must_be('stream', key('log:', destination))
    check_place(place_of(row) == 'r' and 'r' or place_for(row), destination)
    if place_of(row) == 'r' then
        check_place('b', destination)
    end
    return destination
end

-- Stores a row that was not there: in the stream of what waits if it is in turn there.
local function create(id, row, place, destination, source)
    row = put(row, 143, pad(add(key('log:', destination), place, 'i', id)))
    if is_in_turn(row, destination) then
        local due = due_of(row)
        local entry = add(key('ready:', destination, track .. generation), millis(due) .. '-*', 'i', id)
        will_expire(id, row, destination)
        if not lasts[destination] or tonumber(lasts[destination]) < tonumber(due) then
            lasts[destination] = due
            redis.call('HSET', counters, 'last:' .. destination, due)
        end
        row = stands(row, 'r', entry)
    else
        row = enter(id, row, destination, source)
    end
    keep(id, row)
    recount_delivery(id, row, destination, 1)
    count_destination(destination, 'created', 1)
    count_destination(destination, state_of(row), 1)
end

-- Some of a value; nothing of one that is not there, is shorter, or is of another type.
local function part_of(value, from, to)
    local bytes = asked('GETRANGE', value, from, to)
    return type(bytes) == 'string' and bytes or ''
end
-- What names deliveries that were made of an event later: an id each, and a seal that its reader looks at.
local named_length = 20
local function replays_of(event) return part_of(key('r:', event), 0, -1) end
local function name_replay(event, named)
    local over = #replays_of(event) % named_length
    -- What somebody cut short spoils none that comes behind it.
    local filling = over > 0 and string.rep('\0', named_length - over) or ''
    redis.call('APPEND', key('r:', event), filling .. named)
end

-- Ids of an event's deliveries, those that are gone among them: of those it was stored with, and of those that were made later.
local function ids_in(front, replays)
    local ids = {}
    for at = 3, 2 + 16 * (#front < 2 and 0 or struct.unpack('>I2', front)), 16 do
        ids[#ids + 1] = string.sub(front, at, at + 15)
    end
    for at = 1, #replays - named_length + 1, named_length do
        ids[#ids + 1] = string.sub(replays, at, at + 15)
    end
    return ids
end
local function ids_of(event)
    local value = key('e:', event)
    local front = part_of(value, 33, 34)
    return ids_in(#front == 2 and front .. part_of(value, 35, 34 + 16 * struct.unpack('>I2', front)) or '', replays_of(event))
end

-- An event's deliveries that are there: id, row, id, row.
local function family(event)
    local found = {}
    for _, id in ipairs(ids_of(event)) do
        local row = load(id)
        if row then
            found[#found + 1] = id
            found[#found + 1] = row
        end
    end
    return found
end

-- The arguments, one after the other.
local argument = 0
local function next_argument()
    argument = argument + 1
    return ARGV[argument]
end
-- So many of one kind, each read.
local function all_of(next_one)
    local all = {}
    for at = 1, tonumber(next_argument()) do
        all[at] = next_one()
    end
    return all
end
