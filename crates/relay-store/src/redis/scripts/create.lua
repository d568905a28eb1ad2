-- New deliveries.
local function will_expire(id, row, destination)
    local of = expiries[destination] or {}
    expiries[destination] = of
    of[#of + 1] = expiry_of(row)
    of[#of + 1] = id
end

local function last_of(destination)
    if lasts[destination] == nil then
        lasts[destination] = redis.call('HGET', counters, 'last:' .. destination)
    end
    return lasts[destination]
end
local function rises(destination, due)
    local last = last_of(destination)
    if not last or (tonumber(last) or 0) < tonumber(due) then
        lasts[destination], risen[destination] = due, true
    end
end

local function is_in_turn(row, destination)
    if place_of(row) ~= 'r' then
        return false
    end
    local last = last_of(destination)
    return not last or tonumber(due_of(row)) >= (tonumber(last) or 0) - 1000000
end

-- Looks whether a row can be stored.
local checked = {}
local function check_new(row)
    local destination = names_of(row)
    local is_ready = place_of(row) == 'r'
    local place = is_ready and 'r' or place_for(row)
    local of = place .. destination
    if not checked[of] then
        must_be('stream', key('log:', destination))
        check_place(place, destination)
        if is_ready then
            check_place('b', destination)
        end
        checked[of] = true
    end
    return destination
end

-- Stores a row that was not there: in the stream of what waits if it is in turn there.
local function create(id, row, place, destination, source)
    local listed = add(key('log:', destination), place, 'i', id)
    if is_in_turn(row, destination) then
        local due = due_of(row)
        local entry = add(key('ready:', destination, track .. generation), millis(due) .. '-*', 'i', id)
        will_expire(id, row, destination)
        rises(destination, due)
        row = stands(row, 'r', entry, listed)
    else
        row = enter(id, put(row, 143, pad(listed)), destination, source)
    end
    keep(id, row)
    recount_delivery(id, row, destination, 1)
    count_destination(destination, 'created', 1)
    count_destination(destination, state_of(row), 1)
end
