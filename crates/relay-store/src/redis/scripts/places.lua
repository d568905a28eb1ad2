-- The indexes that rows stand in, and how they leave them.
local function will_end(id, row, destination)
    ended[id .. instance_of(row)] = true
    local entry = entry_of(row)
    if entry ~= '' then
        local of = read[destination] or {}
        read[destination] = of
        of[#of + 1] = entry
    end
end

-- Looks whether a row can be taken out of the indexes of a place, or put there.
local function check_place(place, of)
    if are_right[place .. of] then
        return
    end
    must_be('hash', counters)
    if place == 'o' then
        must_be('stream', key('done:', of))
    elseif place == 'e' then
        must_be('zset', key('ended:', of))
        must_be('zset', key('made:', of))
        must_be('stream', key('log:', of))
    elseif place == 'l' then
        must_be('zset', key('leases', ''))
        must_be('stream', key('ready:', of, track .. generation))
    else
        must_be('zset', key('exp:', of))
        if place == 'r' then
            must_be('stream', key('ready:', of, track .. generation))
        elseif place == 'd' then
            must_be('zset', key('due:', of, track))
            must_be('zset', key('tries:', of, track))
        else
            must_be('zset', key('back:', of, track))
        end
    end
    are_right[place .. of] = true
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
        will_end(id, row, destination)
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
