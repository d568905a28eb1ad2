-- What settling and steps share: one change, one removal, new deliveries of an event that is there.

-- Applies a change if the header is the one decided on: gives nothing, or the row that stands there, or false.
local function settle_next()
    local id, state, version, fence = next_argument(), next_argument(), next_argument(), next_argument()
    local row, archive, audit, audit_at = next_argument(), next_argument(), next_argument(), next_argument()
    local class, retried = next_argument(), tonumber(next_argument())
    local stored = load(id)
    if not stored then
        return false
    end
    if not is_whole(stored) or state_of(stored) ~= state or version_of(stored) ~= version or fence_of(stored) ~= fence then
        return stored
    end
    local destination, source = names_of(stored)
    leave(id, stored, destination)
    recount_delivery(id, stored, destination, -1)
    row = put(row, 143, cut(stored, 143, 33))
    row = enter(id, row, destination, source)
    redis.call('SET', key('d:', id), row)
    recount_delivery(id, row, destination, 1)
    if archive ~= '' then
        -- A list that somebody spoilt keeps nothing from its end.
        redis.pcall('RPUSH', key('t:', id), archive)
    end
    if audit ~= '' then
        add(key('audit', ''), audit_at, 'l', audit)
    end
    count_destination(destination, state, -1)
    count_destination(destination, state_of(row), 1)
    if class ~= '' then
        count_destination(destination, 'o' .. class, 1)
        count_destination(destination, 'retried', retried)
    end
    saw(change_of(row))
    return nil
end

-- Removes an event, its listing, and the key that leads there.
local function remove_event(event, source)
    local value = key('e:', event)
    local length_at = 35 + 16 * number_in(value, 33)
    local length = string.byte(part_of(value, length_at, length_at)) or 0
    if length > 0 then
        local entry = key('k:', source, ':' .. part_of(value, length_at + 1, length_at + length))
        if part_of(entry, 0, 15) == event then
            redis.call('DEL', entry)
        end
    end
    local listed = unpad(part_of(value, 0, 32))
    -- Of one that is lost, or was spoilt, nobody knows it.
    if parts_of(listed) then
        redis.call('XDEL', key('src:', source), listed)
        recount_event(listed, source, -1)
    end
    -- One that is gone already was counted by whoever found that out.
    if redis.call('UNLINK', value) == 1 then
        count_source(source, 'stored', -1)
        count_source(source, 'retired', 1)
    end
    redis.call('UNLINK', key('r:', event))
end

-- Removes an ended delivery if it is the one decided on: 0, 1, or 2 if its event went along.
local function retire_next()
    local id, version, state = next_argument(), next_argument(), next_argument()
    local stored = load(id)
    if not stored or not is_whole(stored) or version_of(stored) ~= version or state_of(stored) ~= state then
        return 0
    end
    local destination, source = names_of(stored)
    local event = event_of(stored)
    leave(id, stored, destination)
    recount_delivery(id, stored, destination, -1)
    local listed = listed_at(stored)
    if listed ~= '' then
        redis.call('XDEL', key('log:', destination), listed)
    else
        redis.call('ZREM', key('made:', destination), id)
    end
    redis.call('DEL', key('d:', id), key('t:', id))
    count_destination(destination, state, -1)
    count_destination(destination, 'retired', 1)
    local ids = ids_of(event)
    for at = 1, #ids, 16 do
        if redis.call('EXISTS', key('d:', string.sub(ids, at, at + 15))) == 1 then
            return 1
        end
    end
    remove_event(event, source)
    return 2
end

-- Stores a new delivery of an event: 0 if that is gone, 1 if it was there already, 2 if it is stored.
local function make_next()
    local id, row, place, sequence = next_argument(), next_argument(), next_argument(), next_argument()
    local event = event_of(row)
    if redis.call('EXISTS', key('e:', event)) == 0 then
        return 0
    end
    if redis.call('EXISTS', key('d:', id)) == 1 then
        return 1
    end
    local destination, source = names_of(row)
    create(id, row, place, destination, source)
    redis.call('APPEND', key('r:', event), id)
    redis.call('ZREM', key('lone', ''), event)
    holds_id(sequence)
    saw(change_of(row))
    return 2
end
